package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"gatewayd/store/client"
)

// A snapshot file, numbers big-endian: magic; for each record, in the order of the
// keys, the length of its key (2 bytes, never 0), the length of its value (4), key
// and value; then a key length of 0, the number of records (8) and the CRC-32C of
// all bytes before (4).
const (
	magic         = "gatewayd store 1\n"
	spaceInterval = 256 << 10 // bytes written between two looks at the free space
)

// ErrBadSnapshot is a snapshot file that is not whole.
var ErrBadSnapshot = errors.New("not a whole snapshot")

// snapshot answers OpSnapshot.
func (s *service) snapshot(ctx context.Context, path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("the path %q is relative", path)
	}
	if !s.snap.TryLock() {
		return errors.New("another snapshot is being written")
	}
	defer s.snap.Unlock()
	return s.disk.use(func(db *badger.DB) error { return s.disk.snapshot(ctx, db, path) })
}

// snapshot writes the file beside path, syncs it, reads it back, renames it and syncs
// the directory. After an error the former file at path is as it was.
func (d *disk) snapshot(ctx context.Context, db *badger.DB, path string) (err error) {
	partial := path + ".partial"
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(partial)
		}
	}()
	count, err := d.writeSnapshot(ctx, db, f, filepath.Dir(path))
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// What is read back shall come from the device where the kernel lets it go.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	read, err := ReadSnapshot(f, func(client.Record) error { return ctx.Err() })
	if err != nil {
		return fmt.Errorf("read back %s: %w", partial, err)
	}
	if read != count {
		return fmt.Errorf("read back %s: %d records of %d: %w", partial, read, count, ErrBadSnapshot)
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeSnapshot writes all records and returns their number. It stops, with
// client.ErrFull, where it would take the space that is kept.
func (d *disk) writeSnapshot(ctx context.Context, db *badger.DB, f io.Writer, dir string) (count uint64, err error) {
	sum := crc32.New(castagnoli)
	w := bufio.NewWriter(io.MultiWriter(f, sum))
	w.WriteString(magic)
	unchecked := spaceInterval
	err = each(db, nil, nil, func(key, value []byte) (bool, error) {
		if unchecked >= spaceInterval {
			unchecked = 0
			if err := errors.Join(ctx.Err(), d.spare(dir)); err != nil {
				return false, err
			}
		}
		var head [6]byte
		binary.BigEndian.PutUint16(head[:], uint16(len(key)))
		binary.BigEndian.PutUint32(head[2:], uint32(len(value)))
		w.Write(head[:])
		w.Write(key)
		_, err := w.Write(value) // bufio keeps the first error
		unchecked += len(head) + len(key) + len(value)
		count++
		return err == nil, err
	})
	if err != nil {
		return 0, err
	}
	w.Write(binary.BigEndian.AppendUint64([]byte{0, 0}, count))
	if err := w.Flush(); err != nil {
		return 0, err
	}
	_, err = f.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
	return count, err
}

// spare says whether dir has more free space than the store keeps.
func (d *disk) spare(dir string) error {
	if d.dir == "" {
		return nil
	}
	free, err := d.free(dir)
	if err != nil {
		return err
	}
	need, err := roomToCompact(d.dir)
	if err != nil {
		return err
	}
	if free < d.guard+need+2*spaceInterval {
		return fmt.Errorf("%w: %s free at %s", client.ErrFull, megabytes(free), dir)
	}
	return nil
}

// ReadSnapshot gives f every record of a snapshot in the order of the keys and
// returns their number. What f got is good only when the error is nil: a file that is
// cut, changed or no snapshot is ErrBadSnapshot, wrapped, and that shows at its end.
// A record's memory is f's to keep.
func ReadSnapshot(r io.Reader, f func(client.Record) error) (count uint64, err error) {
	s := &summed{r: bufio.NewReader(r)}
	if string(s.take(len(magic))) != magic {
		return 0, fmt.Errorf("%w: wrong beginning", ErrBadSnapshot)
	}
	for {
		klen := int(binary.BigEndian.Uint16(s.take(2)))
		if s.err != nil || klen == 0 {
			break
		}
		vlen := binary.BigEndian.Uint32(s.take(4))
		if klen > client.MaxKey || vlen > client.MaxValue {
			return count, fmt.Errorf("%w: record %d has a key of %d and a value of %d bytes", ErrBadSnapshot, count, klen, vlen)
		}
		rec := client.Record{Key: s.take(klen), Value: s.take(int(vlen))}
		if s.err != nil {
			break
		}
		count++
		if err := f(rec); err != nil {
			return count, err
		}
	}
	told := binary.BigEndian.Uint64(s.take(8))
	sum := s.sum
	right := binary.BigEndian.Uint32(s.take(4)) == sum && told == count
	switch {
	case s.err != nil:
		return count, fmt.Errorf("%w: after %d records: %w", ErrBadSnapshot, count, s.err)
	case !right:
		return count, fmt.Errorf("%w: wrong count or checksum after %d records", ErrBadSnapshot, count)
	}
	if _, err := s.r.ReadByte(); err != io.EOF {
		return count, fmt.Errorf("%w: bytes after its end", ErrBadSnapshot)
	}
	return count, nil
}

// summed reads and sums. After its first error it gives zeros.
type summed struct {
	r   *bufio.Reader
	sum uint32
	err error
}

func (s *summed) take(n int) []byte {
	b := make([]byte, n)
	if s.err == nil {
		_, s.err = io.ReadFull(s.r, b)
	}
	if s.err != nil {
		clear(b)
		return b
	}
	s.sum = crc32.Update(s.sum, castagnoli, b)
	return b
}

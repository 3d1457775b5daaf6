package store

import (
	"bufio"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"gatewayd/store/client"
)

// A snapshot, numbers big-endian: magic; the newest sequence it holds (8 bytes); when
// it was made (8, ms since 1970); compressed as RFC 1951 says: for each record, in the
// order of the keys, the length of its key (2, never 0), the length of its value (4),
// key and value, then a key length of 0 and the number of records (8); and last the
// CRC-32C of all bytes before (4). A backup is the same.
const (
	magic         = "gatewayd store 2\n"
	anyMagic      = "gatewayd store "
	spaceInterval = 256 << 10 // bytes of records between two looks at the free space
)

// ErrBadSnapshot is a snapshot that is not whole.
var ErrBadSnapshot = errors.New("not a whole backup")

// SnapshotInfo is what a snapshot says of itself.
type SnapshotInfo struct {
	Sequence uint64    // of the newest batch in it
	Made     time.Time // by the wall clock
	Records  uint64
}

// keepSnapshot makes a snapshot generation by write, and removes those that are too old
// once it is verified; keep is how many stay.
func (d *disk) keepSnapshot(ctx context.Context, keep int, p *pace, write func(w io.Writer, allowed func() error) (SnapshotInfo, error)) error {
	info, err := d.makeGeneration(ctx, p, func(w io.Writer) (SnapshotInfo, error) {
		return write(w, func() error { return errors.Join(ctx.Err(), d.spare(d.guard/2)) })
	})
	if err != nil {
		return fmt.Errorf("make a snapshot: %w", err)
	}
	d.log.Info("store: snapshot made", "sequence", info.Sequence, "records", info.Records)
	return prune(d.dir, keep)
}

// nextSnapshot makes the generation that follows the newest: from that and the journal,
// and the database is compared with them on the way. So what a table lost while the
// store ran does not get into a snapshot. The error may be a damage, or errNotWhole.
func (d *disk) nextSnapshot(ctx context.Context, db *badger.DB, p *pace) error {
	txn := db.NewTransaction(false) // what it sees is in the journal
	defer txn.Discard()
	a, err := takeAccount(d.dir, true)
	if err != nil {
		return err
	}
	return d.keepSnapshot(ctx, keptGenerations, p, func(w io.Writer, allowed func() error) (SnapshotInfo, error) {
		return a.writeSnapshot(db, txn, d.now(), w, allowed, p)
	})
}

// firstSnapshot makes the only generation, from the database.
func (d *disk) firstSnapshot(ctx context.Context, db *badger.DB, p *pace) error {
	txn := db.NewTransaction(false)
	defer txn.Discard()
	return d.keepSnapshot(ctx, 1, p, func(w io.Writer, allowed func() error) (SnapshotInfo, error) {
		info, err := writeSnapshot(txn, d.now(), w, allowed, p)
		return info, errors.Join(err, d.scrub(ctx, db)) // what cannot be read is left out without an error
	})
}

// makeGeneration has write make a snapshot in a file beside, syncs it, reads it back,
// gives it its name and syncs the directory. After an error nothing has changed.
func (d *disk) makeGeneration(ctx context.Context, p *pace, write func(io.Writer) (SnapshotInfo, error)) (info SnapshotInfo, err error) {
	partial := filepath.Join(d.dir, partialGeneration)
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return info, err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(partial)
		}
	}()
	to := io.Writer(f)
	if p != nil { // else there is nobody beside
		to = &stepwise{f: f}
	}
	if info, err = write(to); err != nil {
		return info, err
	}
	if err = f.Sync(); err != nil {
		return info, err
	}
	// What is read back shall come from the device where the kernel lets it go.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return info, err
	}
	read, err := ReadSnapshot(f, func(r client.Record) error { return errors.Join(ctx.Err(), p.did(len(r.Key)+len(r.Value))) })
	if err != nil {
		return info, fmt.Errorf("read back: %w", err)
	}
	if read != info {
		return info, fmt.Errorf("read back: %+v is not %+v: %w", read, info, ErrBadSnapshot)
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return info, err
	}
	if err = os.Rename(partial, generationPath(d.dir, info.Sequence)); err != nil {
		return info, err
	}
	d.snapshot.Store(info.Sequence)
	d.segmentSize.Store(segmentSize(size))
	return info, syncDir(d.dir)
}

// syncStep is after how many bytes a long file is synced: who syncs something else
// meanwhile may wait for as many.
const syncStep = 512 << 10

// stepwise writes to a file, and syncs it in steps.
type stepwise struct {
	f        *os.File
	unsynced int
}

func (w *stepwise) Write(b []byte) (n int, err error) {
	n, err = w.f.Write(b)
	if w.unsynced += n; err == nil && w.unsynced >= syncStep {
		w.unsynced = 0
		err = unix.Fdatasync(int(w.f.Fd()))
	}
	return n, err
}

// segmentSize is after how many bytes of journal a new snapshot is due when the last
// one has size bytes: so all snapshots together are written as much as the journal.
func segmentSize(size int64) int64 { return min(max(journalLeast, size), journalMost) }

// writeSnapshot writes all records in the view of txn. allowed is asked now and then
// and stops it with its error.
func writeSnapshot(txn *badger.Txn, made time.Time, to io.Writer, allowed func() error, p *pace) (SnapshotInfo, error) {
	sequence, err := sequenceIn(txn)
	if err != nil {
		return SnapshotInfo{}, err
	}
	w := newSnapshotWriter(to, sequence, made)
	add := w.addWhile(allowed, p)
	err = eachIn(txn, nil, nil, func(key, value []byte) (bool, error) { return true, add(key, value) })
	if err != nil {
		return SnapshotInfo{}, err
	}
	return w.end()
}

// writeSnapshot writes the account as of the sequence in the view of txn, if it is
// what the database holds.
func (a *account) writeSnapshot(db *badger.DB, txn *badger.Txn, made time.Time, to io.Writer, allowed func() error, p *pace) (SnapshotInfo, error) {
	q, err := a.wholeIn(txn)
	if err != nil {
		return SnapshotInfo{}, err
	}
	w := newSnapshotWriter(to, q, made)
	if err := a.compare(db, txn, q, w.addWhile(allowed, p)); err != nil {
		return SnapshotInfo{}, err
	}
	return w.end()
}

// wholeIn is the newest sequence in the view of txn, to which the account is whole.
func (a *account) wholeIn(txn *badger.Txn) (uint64, error) {
	q, err := sequenceIn(txn)
	if err != nil {
		return 0, damaged("its newest sequence: %v", err)
	}
	if !a.whole(q) || len(a.bad) > 0 {
		return 0, fmt.Errorf("%w: a snapshot or the journal is damaged before batch %d", errNotWhole, q)
	}
	return q, nil
}

// errNotWhole: the account cannot tell what the database has to hold.
var errNotWhole = errors.New("not whole")

// snapshotWriter writes a snapshot, record by record.
type snapshotWriter struct {
	info   SnapshotInfo
	to     io.Writer
	sum    *summedWriter
	packed *flate.Writer
	plain  *bufio.Writer
}

func newSnapshotWriter(to io.Writer, sequence uint64, made time.Time) *snapshotWriter {
	made = time.UnixMilli(made.UnixMilli())
	sum := &summedWriter{w: bufio.NewWriterSize(to, 64<<10)}
	sum.Write([]byte(magic))
	sum.Write(binary.BigEndian.AppendUint64(nil, sequence))
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(made.UnixMilli())))
	packed, err := flate.NewWriter(sum, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a good one
	}
	return &snapshotWriter{SnapshotInfo{Sequence: sequence, Made: made}, to, sum, packed, bufio.NewWriter(packed)}
}

func (w *snapshotWriter) add(key, value []byte) error {
	var head [6]byte
	binary.BigEndian.PutUint16(head[:], uint16(len(key)))
	binary.BigEndian.PutUint32(head[2:], uint32(len(value)))
	w.plain.Write(head[:])
	w.plain.Write(key)
	_, err := w.plain.Write(value) // bufio keeps the first error
	w.info.Records++
	return err
}

// addWhile is add as long as allowed, which is asked now and then, has no error, at a
// pace.
func (w *snapshotWriter) addWhile(allowed func() error, p *pace) func(key, value []byte) error {
	unasked := spaceInterval
	return func(key, value []byte) error {
		if unasked >= spaceInterval {
			unasked = 0
			if err := allowed(); err != nil {
				return err
			}
		}
		unasked += len(key) + len(value)
		if err := w.add(key, value); err != nil {
			return err
		}
		return p.did(len(key) + len(value))
	}
}

func (w *snapshotWriter) end() (SnapshotInfo, error) {
	w.plain.Write(binary.BigEndian.AppendUint64([]byte{0, 0}, w.info.Records))
	if err := errors.Join(w.plain.Flush(), w.packed.Close()); err != nil {
		return w.info, err
	}
	w.sum.Write(binary.BigEndian.AppendUint32(nil, w.sum.sum))
	return w.info, w.sum.w.Flush()
}

// summedWriter sums what it writes. The first error stays.
type summedWriter struct {
	w   *bufio.Writer
	sum uint32
}

func (s *summedWriter) Write(b []byte) (int, error) {
	s.sum = crc32.Update(s.sum, castagnoli, b)
	return s.w.Write(b)
}

// spare says whether the file system has more free space than compaction takes and
// guard. A snapshot may go into half of the guard, because the journal that it replaces
// gives more back.
func (d *disk) spare(guard int64) error {
	if d.dir == "" {
		return nil
	}
	free, kept, err := d.space()
	if err != nil {
		return err
	}
	if free < kept-d.guard+guard+2*spaceInterval {
		return fmt.Errorf("%w: %s free at %s", client.ErrFull, megabytes(free), d.dir)
	}
	return nil
}

// ReadSnapshot gives f every record of a snapshot in the order of the keys and
// returns what it says of itself. What f got is good only when the error is nil: a
// file that is cut, changed or no snapshot is ErrBadSnapshot, wrapped, and that shows
// at its end. A record's memory is f's only until it returns.
func ReadSnapshot(r io.Reader, f func(client.Record) error) (info SnapshotInfo, err error) {
	raw := &summed{r: bufio.NewReaderSize(r, 64<<10)}
	if begin := string(raw.take(len(magic))); begin != magic {
		if strings.HasPrefix(begin, anyMagic) {
			return info, fmt.Errorf("%w: it is of another version, %q, and this gatewayd reads %q", ErrBadSnapshot,
				strings.TrimSpace(begin), strings.TrimSpace(magic))
		}
		return info, fmt.Errorf("%w: it does not begin with %q", ErrBadSnapshot, strings.TrimSpace(magic))
	}
	info.Sequence = binary.BigEndian.Uint64(raw.take(8))
	info.Made = time.UnixMilli(int64(binary.BigEndian.Uint64(raw.take(8))))
	packed := flate.NewReader(raw)
	s := &summed{r: bufio.NewReader(packed)}
	told, err := readRecords(s, &info, f)
	if err != nil {
		return info, err
	}
	if _, end := s.r.ReadByte(); s.err == nil && end != io.EOF {
		s.err = errors.New("records behind the last")
	}
	sum := raw.sum
	right := binary.BigEndian.Uint32(raw.take(4)) == sum && told == info.Records
	switch bad := errors.Join(s.err, raw.err); {
	case bad != nil:
		return info, fmt.Errorf("%w: after %d records: %w", ErrBadSnapshot, info.Records, bad)
	case !right:
		return info, fmt.Errorf("%w: wrong count or checksum after %d records", ErrBadSnapshot, info.Records)
	}
	if _, err := raw.r.ReadByte(); err != io.EOF {
		return info, fmt.Errorf("%w: bytes after its end", ErrBadSnapshot)
	}
	return info, nil
}

// readRecords reads up to the number of records, which it returns.
func readRecords(s *summed, info *SnapshotInfo, f func(client.Record) error) (told uint64, err error) {
	for {
		s.reuse()
		klen := int(binary.BigEndian.Uint16(s.take(2)))
		if s.err != nil || klen == 0 {
			break
		}
		vlen := binary.BigEndian.Uint32(s.take(4))
		if klen > client.MaxKey || vlen > client.MaxValue {
			return 0, fmt.Errorf("%w: record %d has a key of %d and a value of %d bytes", ErrBadSnapshot, info.Records, klen, vlen)
		}
		rec := client.Record{Key: s.take(klen), Value: s.take(int(vlen))}
		if s.err != nil {
			break
		}
		info.Records++
		if err := f(rec); err != nil {
			return 0, err
		}
	}
	return binary.BigEndian.Uint64(s.take(8)), nil
}

// summed reads and sums. After its first error it gives zeros.
type summed struct {
	r    *bufio.Reader
	sum  uint32
	err  error
	one  [1]byte
	all  []byte // what was made last to take to
	room []byte // the rest of it
}

// summedRoom is how much room is made at least, in bytes.
const summedRoom = 4 << 10

// take reads n bytes, which are the caller's until reuse.
func (s *summed) take(n int) []byte {
	if n > len(s.room) {
		s.all = make([]byte, max(2*n, summedRoom))
		s.room = s.all
	}
	b := s.room[:n:n]
	s.room = s.room[n:]
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

// reuse gives up what was taken.
func (s *summed) reuse() { s.room = s.all }

// Read and ReadByte make a summed what flate reads from, byte by byte to its end and
// no further.
func (s *summed) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.sum = crc32.Update(s.sum, castagnoli, b[:n])
	return n, err
}

func (s *summed) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.one[0] = b
		s.sum = crc32.Update(s.sum, castagnoli, s.one[:])
	}
	return b, err
}

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"gatewayd/store/client"
)

// The journal is every batch once more, in files of the store's own, synced before
// Badger gets it: with a snapshot before it, it tells what Badger must hold. A segment
// is one of its files, journal-<sequence>: the entries that follow that sequence. It
// is written ahead with zeros, so that an entry changes no size and costs one block.
//
// An entry, numbers big-endian: entryMark (4 bytes), the sequence of the first batch
// of its group (8), the batch as a request of store/client whose id is its sequence,
// and the CRC-32C of all that (4).
const (
	segmentPrefix = "journal-"
	entryMark     = "gwJ1"
	entryHead     = len(entryMark) + 8
	entryLeast    = entryHead + 4 + 9 + 4 + 4 // bytes of one without records
	journalAhead  = 256 << 10                 // bytes of zeros that are written at once
	journalLeast  = 1 << 20                   // bytes after which a segment may be full
	journalMost   = 8 << 20                   // bytes after which it is
)

// journal is the segment that is written to.
type journal struct {
	f      *os.File
	size   int64 // bytes of entries
	filled int64 // bytes that are written ahead
}

func segmentPath(dir string, base uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x", segmentPrefix, base))
}

// startSegment begins the segment after base, in place of one of that name, which
// holds nothing.
func startSegment(dir string, base uint64) (*journal, error) {
	path := segmentPath(dir, base)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("begin the journal: %w", err)
	}
	j := &journal{f: f}
	if err := errors.Join(j.fill(0), syncDir(dir)); err != nil {
		f.Close()
		return nil, fmt.Errorf("begin the journal: %w", err)
	}
	return j, nil
}

// continueSegment goes on behind the size bytes of entries in a segment, which zeros
// follow.
func continueSegment(path string, size int64) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("go on with the journal: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("go on with the journal: %w", err)
	}
	return &journal{f: f, size: size, filled: st.Size()}, nil
}

// fill writes zeros behind the entries until need bytes more fit.
func (j *journal) fill(need int64) error {
	if j.filled > 0 && j.size+need <= j.filled {
		return nil
	}
	end := (j.size+need)/journalAhead*journalAhead + journalAhead
	if _, err := j.f.WriteAt(make([]byte, end-j.filled), j.filled); err != nil {
		return err
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	j.filled = end
	return nil
}

// append has the batches of a group on the disk, the first with sequence first. After
// an error any part of them may be there, and the segment is of no more use.
func (j *journal) append(first uint64, group []batch) error {
	var b []byte
	for i, one := range group {
		b = appendEntry(b, first, first+uint64(i), one.records)
	}
	if err := j.fill(int64(len(b))); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if _, err := j.f.WriteAt(b, j.size); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := unix.Fdatasync(int(j.f.Fd())); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	j.size += int64(len(b))
	return nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.f.Close()
}

func appendEntry(b []byte, first, sequence uint64, records []client.Record) []byte {
	start := len(b)
	b = append(b, entryMark...)
	b = binary.BigEndian.AppendUint64(b, first)
	r := client.Request{ID: sequence, Op: client.OpBatch, Records: records}
	b = r.Append(b)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// entry is a batch as the journal has it.
type entry struct {
	sequence uint64
	first    uint64 // sequence of the first batch of its group
	records  []client.Record
}

// parseEntry reads the entry that b begins with, and its length. ok is false when
// there is none that is whole.
func parseEntry(b []byte) (e entry, size int, ok bool) {
	if len(b) < entryLeast || !bytes.HasPrefix(b, []byte(entryMark)) {
		return entry{}, 0, false
	}
	length := int(binary.BigEndian.Uint32(b[entryHead:]))
	if length > client.MaxFrame {
		return entry{}, 0, false
	}
	end := entryHead + 4 + length
	if len(b) < end+4 || binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return entry{}, 0, false
	}
	r, err := client.ParseRequest(b[entryHead+4 : end])
	if err != nil || r.Op != client.OpBatch {
		return entry{}, 0, false
	}
	return entry{r.ID, binary.BigEndian.Uint64(b[len(entryMark):]), r.Records}, end + 4, true
}

// parseSegment gives f the whole entries in b, which begins with one, in their order.
// size is where the last one ends; clean says that only zeros follow it.
func parseSegment(b []byte, f func(entry)) (size int, clean bool) {
	for at := 0; at < len(b); {
		e, n, ok := parseEntry(b[at:])
		if !ok {
			next := bytes.Index(b[at+1:], []byte(entryMark))
			if next < 0 {
				break
			}
			at += 1 + next
			continue
		}
		f(e)
		at += n
		size = at
	}
	return size, len(bytes.Trim(b[size:], "\x00")) == 0
}

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

// queueLength is how many batches may wait for the committer.
const queueLength = maxUnderWay

// batch is one client's batch on its way to the disk.
type batch struct {
	records []client.Record
	done    func(error) // called once, when it is on the disk or failed; does not block
}

// committer is the one writer: it keeps batches in the order of arrival and lets
// those that wait share a sync.
type committer struct {
	disk  *disk
	queue chan batch

	named []string // the logs whose names are on the disk
}

// run commits until the queue is closed and empty.
func (c *committer) run() {
	var next *batch
	for {
		if next == nil {
			b, ok := <-c.queue
			if !ok {
				return
			}
			next = &b
		}
		var group []batch
		group, next = c.gather(*next)
		err := c.commit(group)
		for _, b := range group {
			b.done(err)
		}
	}
}

// gather takes the batches that wait, from first on, as long as they fit in one
// transaction. left is the first that did not fit.
func (c *committer) gather(first batch) (group []batch, left *batch) {
	group = []batch{first}
	size, records := first.size(), len(first.records)
	for {
		select {
		case b, ok := <-c.queue:
			if !ok {
				return group, nil
			}
			size, records = size+b.size(), records+len(b.records)
			if size > maxGroup || records > maxRecords {
				return group, &b
			}
			group = append(group, b)
		default:
			return group, nil
		}
	}
}

func (b *batch) size() int {
	n := 0
	for _, r := range b.records {
		n += len(r.Key) + len(r.Value) + client.RecordCost
	}
	return n
}

// commit puts the group on the disk: in the journal, and as one transaction in the
// database. After an error none of it may be there, or any batches of it, never a part
// of one.
func (c *committer) commit(group []batch) error {
	if err := c.disk.refuses(); err != nil {
		return err
	}
	c.disk.holdBack()
	err := c.disk.use(func(db *badger.DB) error { return c.disk.write(db, group) })
	if err == nil {
		err = c.syncNames()
	}
	c.disk.committed(err)
	return err
}

const (
	mostSegments = 5           // full ones, behind the newest snapshot, before changes wait for the next one
	longestWait  = time.Second // of each group
)

// holdBack has changes wait while a journal that has become long is read, because the
// next snapshot is made of it, or the database compared with it: what is written
// meanwhile is in memory then.
func (d *disk) holdBack() {
	for end := time.Now().Add(longestWait); d.segments.Load() > mostSegments && d.reading.Load() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}

// write is the committer's. After an error of either, journal and database may differ,
// and nothing is written before they are opened again.
func (d *disk) write(db *badger.DB, group []batch) error {
	if d.isBroken() {
		return errors.New("the last change failed halfway; the store is being opened again")
	}
	first := d.last + 1
	if d.dir != "" {
		if err := d.record(first, group); err != nil {
			d.mend(err, true)
			return err
		}
	}
	records := make([][]client.Record, len(group))
	for i, b := range group {
		records[i] = b.records
	}
	last := d.last + uint64(len(group))
	if err := commitTo(db, records, last); err != nil {
		d.mend(err, true)
		return err
	}
	d.last = last
	if d.journal != nil && d.journal.size >= d.segmentSize.Load() {
		if err := d.journal.close(); err != nil {
			d.log.Warn("store: a segment of the journal closed badly", "err", err)
		}
		d.journal = nil
		d.segment.Store(d.last)
		d.segments.Add(1)
		select {
		case d.due <- struct{}{}:
		default:
		}
	}
	return nil
}

// record has the group in the journal, and on the disk there.
func (d *disk) record(first uint64, group []batch) (err error) {
	if d.journal == nil {
		if d.journal, err = startSegment(d.dir, d.last); err != nil {
			return err
		}
	}
	return d.journal.append(first, group)
}

// commitTo puts batches and the sequence of the last one on the disk as one transaction.
func commitTo(db *badger.DB, batches [][]client.Record, sequence uint64) error {
	txn := db.NewTransaction(true)
	defer txn.Discard()
	for _, records := range batches {
		for _, r := range records {
			if err := put(txn, r); err != nil {
				return fmt.Errorf("key %q: %w", r.Key, err)
			}
		}
	}
	value := binary.BigEndian.AppendUint64(nil, sequence)
	if err := txn.Set(sequenceKey, seal(sequenceKey, value)); err != nil {
		return fmt.Errorf("sequence: %w", err)
	}
	return txn.Commit()
}

func put(txn *badger.Txn, r client.Record) error {
	if r.Delete {
		return txn.Delete(storedKey(r.Key))
	}
	return txn.Set(storedKey(r.Key), seal(r.Key, r.Value))
}

// syncNames syncs the directory when the commit may have gone to a new log: Badger
// syncs the log, and not its name.
func (c *committer) syncNames() error {
	if c.disk.dir == "" {
		return nil
	}
	logs, err := logs(c.disk.dir)
	if err != nil || slices.Equal(logs, c.named) {
		return err
	}
	if err := syncDir(c.disk.dir); err != nil {
		return err
	}
	c.named = logs
	return nil
}

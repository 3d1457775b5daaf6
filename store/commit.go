package store

import (
	"fmt"
	"slices"

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

// commit puts the group on the disk as one transaction. After an error none of it
// may be there, or all of it, never a part.
func (c *committer) commit(group []batch) error {
	if err := c.disk.refuses(); err != nil {
		return err
	}
	err := c.disk.use(func(db *badger.DB) error {
		txn := db.NewTransaction(true)
		defer txn.Discard()
		for _, b := range group {
			for _, r := range b.records {
				if err := put(txn, r); err != nil {
					return fmt.Errorf("key %q: %w", r.Key, err)
				}
			}
		}
		return txn.Commit()
	})
	if err == nil {
		err = c.syncNames()
	}
	c.disk.committed(err)
	return err
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

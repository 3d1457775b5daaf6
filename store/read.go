package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

// get answers OpGet.
func (d *disk) get(key []byte) (value []byte, found bool, err error) {
	err = d.use(func(db *badger.DB) error {
		txn := db.NewTransaction(false)
		defer txn.Discard()
		item, err := txn.Get(storedKey(key))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		stored, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		value, err = unseal(key, stored)
		found = err == nil
		return err
	})
	return value, found, d.doubt(err)
}

// scan answers OpScan: a page of at most limit records (0: no such limit), cut where
// its frame would pass client.ScanSize.
func (d *disk) scan(prefix, after []byte, limit int) (page []client.Record, more bool, err error) {
	err = d.use(func(db *badger.DB) error {
		size := 0
		return each(db, prefix, after, func(key, value []byte) (bool, error) {
			full := limit > 0 && len(page) == limit ||
				len(page) > 0 && size+len(key)+len(value)+client.RecordCost > client.ScanSize
			if full {
				more = true
				return false, nil
			}
			size += len(key) + len(value) + client.RecordCost
			page = append(page, client.Record{Key: bytes.Clone(key), Value: bytes.Clone(value)})
			return true, nil
		})
	})
	if err != nil {
		return nil, false, d.doubt(err)
	}
	return page, more, nil
}

// each gives f the records under prefix that sort after `after`, in the order of their
// keys and as of one moment, until f returns false or an error. Key and value are f's
// only until it returns.
func each(db *badger.DB, prefix, after []byte, f func(key, value []byte) (bool, error)) error {
	txn := db.NewTransaction(false)
	defer txn.Discard()
	return eachIn(txn, prefix, after, f)
}

// eachIn is each in the view of txn.
func eachIn(txn *badger.Txn, prefix, after []byte, f func(key, value []byte) (bool, error)) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: storedKey(prefix)})
	defer it.Close()

	start := storedKey(prefix)
	if len(after) > 0 && bytes.Compare(after, prefix) >= 0 {
		start = append(storedKey(after), 0) // the first key that sorts after it
	}
	for it.Seek(start); it.Valid(); it.Next() {
		item := it.Item()
		key := item.Key()[1:]
		on := false
		err := item.Value(func(stored []byte) error {
			value, err := unseal(key, stored)
			if err != nil {
				return err
			}
			on, err = f(key, value)
			return err
		})
		if err != nil || !on {
			return err
		}
	}
	return nil
}

// sequenceIn is the sequence of the newest batch in the view of txn; 0: there is none.
func sequenceIn(txn *badger.Txn) (uint64, error) {
	item, err := txn.Get(sequenceKey)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	stored, err := item.ValueCopy(nil)
	if err != nil {
		return 0, err
	}
	value, err := unseal(sequenceKey, stored)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("the sequence has %d bytes, want 8", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

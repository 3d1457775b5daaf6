package store

import (
	"context"
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

const proofInterval = time.Second // how often it is asked whether something is to be compared

// proveSoon compares a database that was opened unproved with the account, while it is
// served, until ctx ends.
func (d *disk) proveSoon(ctx context.Context) {
	tick := time.NewTicker(proofInterval)
	defer tick.Stop()
	for {
		if d.unproved.Load() {
			if err := d.prove(ctx); err != nil && ctx.Err() == nil {
				d.say(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// say has keep end with a damage, and says what else kept the database from being
// compared: that is tried again.
func (d *disk) say(err error) {
	switch {
	case isDamage(err):
		select {
		case d.found <- err:
		default: // it ends already
		}
	case !errors.Is(err, client.ErrFull) && !errors.Is(err, context.Canceled):
		d.log.Warn("store: the database was not compared with the journal", "err", err)
	}
}

// prove compares the open database with the account. The error may be a damage.
func (d *disk) prove(ctx context.Context) error {
	began := time.Now()
	d.reading.Add(1)
	defer d.reading.Add(-1)
	ctx, done := d.look(ctx)
	defer done()
	err := d.use(func(db *badger.DB) error { return d.compareSlowly(ctx, db, true) })
	if errors.Is(err, ErrBadSnapshot) || errors.Is(err, errNotWhole) {
		// The one before may do. Either way they are made anew, from a database that
		// was compared as far as that goes.
		d.log.Error("store: the snapshots and the journal are made anew", "err", err)
		d.renew.Store(true)
		if err = d.use(func(db *badger.DB) error { return d.compareSlowly(ctx, db, false) }); errors.Is(err, errNotWhole) {
			d.unproved.Store(false) // there is nothing left to compare it with
			err = nil
		}
	}
	if err == nil {
		d.log.Info("store: the database is what the snapshot and the journal say", "took", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// compareSlowly compares the database with the account as of now, at a pace.
func (d *disk) compareSlowly(ctx context.Context, db *badger.DB, glance bool) error {
	txn := db.NewTransaction(false) // what it sees is in the journal
	defer txn.Discard()
	a, err := takeAccount(d.dir, glance)
	if err != nil {
		return err
	}
	if !glance {
		a.bad = nil
	}
	q, err := a.wholeIn(txn)
	if err != nil {
		return err
	}
	p := d.pace(ctx)
	err = a.compare(db, txn, q, func(key, value []byte) error { return p.did(len(key) + len(value)) })
	if err == nil {
		d.unproved.Store(false)
	}
	return err
}

// look begins a look at all records, which endLook ends. There is one at a time: no
// snapshot is made of what is not compared.
func (d *disk) look(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	d.lookMu.Lock()
	defer d.lookMu.Unlock()
	d.stopLook = cancel
	return ctx, cancel
}

// endLook ends the look that is under way, for the database to be closed; it begins again.
func (d *disk) endLook() {
	d.lookMu.Lock()
	defer d.lookMu.Unlock()
	if d.stopLook != nil {
		d.stopLook()
	}
}

package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/store/client"
)

// books is what the manager knows of the store.
type books struct {
	opening turn
	opened  atomic.Bool

	owing turn // who writes what is owed

	idsTurn turn
	ids     [numIDs]ids

	mu       sync.Mutex
	trouble  error           // of the last call to the store
	notice   string          // what an earlier damage of the store cost
	sequence uint64          // of the newest checkpoint
	late     error           // of the last checkpoint
	owed     []client.Record // undo what a change in doubt may have written; first in line
}

func (b *books) init() {
	b.opening, b.owing, b.idsTurn = newLock(), newLock(), newLock()
}

// note keeps how the last call to the store went. One that its caller gave up
// says nothing.
func (b *books) note(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble = err
}

// askHealth has the store say how it is.
func (m *Manager) askHealth(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	h, err := m.store.Health(ctx)
	if err == nil {
		m.books.mu.Lock()
		m.books.notice = h.Notice
		m.books.mu.Unlock()
		m.mindDamage(h.Notice)
		if !h.OK {
			err = errors.New(h.Why)
		}
	}
	m.books.note(err)
}

// get, scan and save are the only other calls to the store.

func (m *Manager) get(ctx context.Context, key []byte) ([]byte, bool, error) {
	v, ok, err := m.store.Get(ctx, key)
	m.books.note(err)
	if err != nil {
		return nil, false, unavailable("read", err)
	}
	return v, ok, nil
}

func (m *Manager) scan(ctx context.Context, prefix, after []byte, limit int) ([]client.Record, bool, error) {
	rs, more, err := m.store.Scan(ctx, prefix, after, limit)
	m.books.note(err)
	if err != nil {
		return nil, false, unavailable("read", err)
	}
	return rs, more, nil
}

// scanAll returns all records with a prefix.
func (m *Manager) scanAll(ctx context.Context, prefix []byte) (all []client.Record, err error) {
	for more := true; more; {
		var after []byte
		if len(all) > 0 {
			after = all[len(all)-1].Key
		}
		var page []client.Record
		if page, more, err = m.scan(ctx, prefix, after, 0); err != nil {
			return nil, err
		}
		all = append(all, page...)
		more = more && len(page) > 0
	}
	return all, nil
}

// saveSize is how many records go to the store at once: all or none of them.
const saveSize = 400

// save has records on disk when it returns nil. Before it writes what is owed.
// With more than saveSize of them a failure may leave the first on disk; the
// lines of a ledger and the record behind them stay together.
func (m *Manager) save(ctx context.Context, records []client.Record) error {
	if err := m.payOwed(ctx); err != nil {
		return err
	}
	for len(records) > 0 {
		n := min(len(records), saveSize)
		for n < len(records) && isLine(records[n-1]) && n > saveSize/2 {
			n--
		}
		if err := m.batch(ctx, records[:n:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func (m *Manager) batch(ctx context.Context, records []client.Record) error {
	err := m.store.Batch(ctx, append(records, write(clockKey, m.clock.read())))
	m.books.note(err)
	if err != nil {
		return unavailable("save", err)
	}
	m.learn(records)
	return nil
}

// owe remembers records that undo a save in doubt. It does not wait for the
// disk.
func (m *Manager) owe(records ...client.Record) {
	b := &m.books
	b.mu.Lock()
	b.owed = append(b.owed, records...)
	b.mu.Unlock()
	nudge(m.ink)
}

func (m *Manager) payOwed(ctx context.Context) error {
	b := &m.books
	if err := b.owing.take(ctx); err != nil {
		return unavailable("save", err)
	}
	defer b.owing.done()
	for {
		b.mu.Lock()
		first := b.owed[:min(len(b.owed), saveSize)]
		b.mu.Unlock()
		if len(first) == 0 {
			return nil
		}
		if err := m.batch(ctx, first[:len(first):len(first)]); err != nil {
			return err
		}
		b.mu.Lock()
		b.owed = b.owed[len(first):]
		b.mu.Unlock()
	}
}

// open reads what has to be known before anything is changed: the newest
// stamp, the ids, the checkpoint, and the sessions of devices that have
// grants. It does so once, and again after it failed.
func (m *Manager) open(ctx context.Context) error {
	b := &m.books
	if b.opened.Load() {
		return nil
	}
	if err := b.opening.take(ctx); err != nil {
		return unavailable("open the books", err)
	}
	defer b.opening.done()
	if b.opened.Load() {
		return nil
	}
	var newest stamp
	if err := m.getJSON(ctx, clockKey, &newest); err != nil {
		return fmt.Errorf("open the books: %w", err)
	}
	reserved, err := m.reserved(ctx)
	if err != nil {
		return fmt.Errorf("open the books: %w", err)
	}
	b.ids[deviceIDs] = ids{next: reserved.Devices, end: reserved.Devices}
	b.ids[sessionIDs] = ids{next: reserved.Sessions, end: reserved.Sessions}
	b.ids[eventIDs] = ids{next: reserved.Events, end: reserved.Events}
	if err := m.anchorClock(ctx, newest); err != nil {
		return fmt.Errorf("open the books: %w", err)
	}
	if err := m.recallRestore(ctx); err != nil {
		return fmt.Errorf("open the books: %w", err)
	}
	if err := m.foldCheckpoint(ctx); err != nil {
		return fmt.Errorf("open the books: %w", err)
	}
	if err := m.learnPaused(ctx); err != nil {
		return fmt.Errorf("open the books: %w", err)
	}
	if err := m.loadGranted(ctx); err != nil {
		return fmt.Errorf("open the books: %w", err)
	}
	if err := m.recallErrands(ctx); err != nil {
		return fmt.Errorf("open the books: %w", err)
	}
	if err := m.reserveEvents(ctx); err != nil {
		m.log.Debug("events wait for ids", "error", err)
	}
	b.opened.Store(true)
	return nil
}

// anchorClock sets the clock by the newest stamp, and keeps by how much the
// one before was behind if that is known only now.
func (m *Manager) anchorClock(ctx context.Context, newest stamp) error {
	rs, err := m.scanAll(ctx, []byte(moveKeys))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rs {
		by, err := numberOf(r.Value)
		since, bad := numberOf(r.Key[len(moveKeys):])
		if err != nil || bad != nil {
			m.log.Error("move of the clock left out", "key", string(r.Key))
			continue
		}
		m.moves[since] = time.Duration(by)
	}
	since := newest.Since.UnixNano()
	_, corrected := m.moves[since]
	if by, moved := m.clock.anchor(newest, m.warm, corrected); moved {
		m.moves[since] = by
		m.owe(client.Record{Key: moveKey(newest.Since), Value: number(int64(by))})
	}
	return nil
}

// openSoon is open for a store that may be starting: it tries until ctx ends.
func (m *Manager) openSoon(ctx context.Context) error {
	for {
		err := m.open(ctx)
		if !errors.Is(err, client.ErrAway) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// getJSON reads a value into v, which stays as it is when there is none.
func (m *Manager) getJSON(ctx context.Context, key []byte, v any) error {
	b, ok, err := m.get(ctx, key)
	if err != nil || !ok {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %q: %w", key, err)
	}
	return nil
}

// Degraded returns why changes may be refused or times be wrong; empty when
// all is well.
func (m *Manager) Degraded() []string {
	var why []string
	b := &m.books
	b.mu.Lock()
	switch err := b.trouble; {
	case err == nil:
	case errors.Is(err, client.ErrFull):
		why = append(why, fmt.Sprintf("nothing can be sold or changed: %v; free some space there (df shows it)", err))
	case errors.Is(err, client.ErrAway):
		why = append(why, fmt.Sprintf("nothing can be sold or changed: %v; it is being started again", err))
	case errors.Is(err, context.DeadlineExceeded):
		why = append(why, fmt.Sprintf("nothing can be sold or changed: the store does not answer in time (%v); "+
			"its disk is slow or stuck: see dmesg", err))
	default:
		why = append(why, fmt.Sprintf("nothing can be sold or changed: %v", err))
	}
	if b.late != nil {
		why = append(why, fmt.Sprintf("what running sessions use is not being saved, and a power cut would give it back: %v", b.late))
	}
	if b.notice != "" {
		why = append(why, "store: "+b.notice)
	}
	b.mu.Unlock()
	if !b.opened.Load() {
		why = append(why, "the stored sessions have not been read yet")
	}
	switch by, trusted := m.clock.off(); {
	case !trusted:
		why = append(why, "wall clock is behind the newest stamp on disk or more than a year ahead: time goes on from that stamp; set the clock (timedatectl)")
	case by.Abs() > time.Minute:
		why = append(why, fmt.Sprintf("wall clock has stepped by %v: stamps and expiry go by the clock before the step until the box is booted again", by.Round(time.Second)))
	}
	m.mu.Lock()
	unsaved := len(m.dirty)
	standing := m.standing()
	full := m.full != 0 && m.opt.Boot()-m.full < fullTime
	why = append(why, m.providersDegraded()...)
	m.mu.Unlock()
	if standing != "" {
		why = append(why, standing)
	}
	if full {
		why = append(why, fmt.Sprintf("the client table is full, and newcomers are not served: raise limits.clients, which is %d", m.table.Clients()))
	}
	if unsaved > 0 && len(why) > 0 {
		why = append(why, fmt.Sprintf("%d devices have changes that are not on disk yet", unsaved))
	}
	return why
}

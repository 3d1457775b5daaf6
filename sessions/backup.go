package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"gatewayd/store/client"
)

// Backup writes everything to w, as of one moment: devices, sessions and what they have
// used, for which it makes a checkpoint first. It takes as long as w does, until ctx
// ends; changes go on meanwhile. What w got is good only when the error is nil.
// ErrUnavailable, ErrStopped, or w's own.
func (m *Manager) Backup(ctx context.Context, w io.Writer) error {
	if m.stopped.Load() {
		return ErrStopped
	}
	m.gate.RLock()
	var err error
	if m.books.opened.Load() {
		_, err = m.checkpoint(ctx, false)
	}
	m.gate.RUnlock()
	if err != nil {
		return unavailable("back up", err)
	}
	to := &errWriter{w: w}
	if err := m.store.Backup(ctx, to); err != nil {
		if to.err != nil {
			return fmt.Errorf("back up: %w", to.err)
		}
		return unavailable("back up", err)
	}
	return nil
}

// errWriter keeps the error of its writer, so that it is told from the store's.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(b []byte) (n int, err error) {
	n, e.err = e.w.Write(b)
	return n, e.err
}

// errReader keeps the error of its reader.
type errReader struct {
	r   io.Reader
	err error
}

func (e *errReader) Read(b []byte) (n int, err error) {
	n, err = e.r.Read(b)
	if err != nil && err != io.EOF {
		e.err = err
	}
	return n, err
}

// Restore puts a backup in the place of everything that is on disk. All of it is read
// and checked first: with ErrBadBackup nothing was changed. Then every client is
// disconnected, and devices and sessions are as they were when the backup was made; a
// client whose session ran then goes on with its next packet, as after a restart. Ids
// that were given away since are not given again. Calls made meanwhile are refused with
// ErrUnavailable; it takes longer the more there is, up to 5 min each for reading and
// for putting in place. ErrForwarder and ErrUnavailable say that nothing was restored,
// or all of it: either way clients go on with their next packet. ErrStopped, or r's own.
func (m *Manager) Restore(ctx context.Context, r io.Reader) error {
	if m.stopped.Load() {
		return ErrStopped
	}
	from := &errReader{r: r}
	switch err := m.store.Stage(ctx, from); {
	case from.err != nil:
		return fmt.Errorf("restore: read the backup: %w", from.err)
	case errors.Is(err, client.ErrUnfit):
		return fmt.Errorf("%w: %w", ErrBadBackup, err)
	case err != nil:
		return unavailable("restore", err)
	}
	m.gate.Lock()
	defer m.gate.Unlock()
	m.jobs.Wait()
	if err := m.open(ctx); err != nil {
		return err
	}
	if err := m.disconnectAll(ctx); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := m.replaceAll(ctx); err != nil {
		return err
	}
	if err := m.openRestored(ctx); err != nil {
		return fmt.Errorf("restored, but not read yet: %w", err)
	}
	m.log.Info("a backup was restored")
	return nil
}

// replaceAll puts the staged backup in the place of everything. With it goes to disk
// which ids were given away, and which restore this is: a session that was written
// before another one is a backup's, until its source has been asked. m.gate is held.
func (m *Manager) replaceAll(ctx context.Context) error {
	restore := rand.Uint64()
	reserved := m.forgetAll(restore)
	m.log.Warn("a backup is restored: all clients are disconnected")
	over := []client.Record{write(beforeKey, reserved), {Key: restoreKey, Value: number(int64(restore))}}
	if err := m.store.Restore(ctx, over...); err != nil {
		return unavailable("restore", err)
	}
	return nil
}

// disconnectAll ends all grants, until their clients' next packets, and has on disk what
// they used. m.gate is held.
func (m *Manager) disconnectAll(ctx context.Context) error {
	m.mu.Lock()
	var granted []*device
	for _, d := range m.slots {
		if d != nil && (d.connected || len(d.grants) > 0) {
			granted = append(granted, d)
		}
	}
	m.mu.Unlock()
	for _, d := range granted {
		if err := d.turn.take(ctx); err != nil {
			return err
		}
		err := m.interrupt(d, "a backup is restored")
		d.turn.done()
		if err != nil {
			return err
		}
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range granted {
		if m.follow(d); len(d.grants) > 0 {
			return fmt.Errorf("disconnect %s: %w", macText(d.mac), ErrForwarder)
		}
	}
	return nil
}

// interrupt disconnects a device, if it is connected, until its next packet. On disk
// its session still runs, so that it goes on also after a power cut. The turn is held.
func (m *Manager) interrupt(d *device, notify string) error {
	m.mu.Lock()
	m.follow(d)
	if !d.connected {
		m.mu.Unlock()
		return nil
	}
	d.connected = false
	if g := d.current(); g != nil {
		d.resume = g.session
	}
	m.mu.Unlock()
	err := m.cut(d, notify)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follow(d)
	m.hub.emit(d.id, SessionDisconnected, message{notify, sessionID(d.resume)})
	return err
}

// forgetAll takes everything out of memory and the table, and returns which ids were
// not given away. Nothing is granted. m.gate is held.
func (m *Manager) forgetAll(restore uint64) (reserved idsRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.slots {
		if d != nil {
			m.unbind(d)
		}
	}
	for _, d := range m.byMAC {
		m.drop(d)
	}
	clear(m.byID)
	clear(m.byIP)
	clear(m.sessions)
	m.paused.clear()
	clear(m.dirty)
	clear(m.moves)
	clear(m.desk.errands)
	m.desk.restore = restore
	m.lookups = nil

	b := &m.books
	reserved = b.ends()
	b.opened.Store(false)
	b.mu.Lock()
	b.owed, b.late, b.sequence = nil, nil, 0
	b.mu.Unlock()
	return reserved
}

// openRestored opens the books of another time: the clock goes on unless the backup is
// from the future, and so do the ids. m.gate is held.
func (m *Manager) openRestored(ctx context.Context) error {
	var newest stamp
	if err := m.getJSON(ctx, clockKey, &newest); err != nil {
		return err
	}
	ids, err := m.reserved(ctx)
	if err != nil {
		return err
	}
	if m.warm = !newest.Wall.After(m.clock.read().Wall); !m.warm {
		if err := m.open(ctx); err != nil {
			return err
		}
	}
	if err := m.save(ctx, []client.Record{write(idsKey, ids)}); err != nil { // with this moment's stamp
		return err
	}
	m.books.opened.Store(false)
	return m.open(ctx)
}

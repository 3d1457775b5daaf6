package sessions

import (
	"context"
)

// isPaused says whether a device has a session that is paused, as far as is
// known without the store.
func (m *Manager) isPaused(device int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paused.of(device) != 0
}

// showPaused completes copies of devices whose sessions are not in memory with
// the one that is paused.
func (m *Manager) showPaused(ctx context.Context, page []Device) error {
	for i := range page {
		m.mu.Lock()
		id, d := m.paused.of(page[i].ID), m.byID[page[i].ID]
		m.mu.Unlock()
		if id == 0 || page[i].Session != nil {
			continue
		}
		var err error
		if d != nil {
			page[i], err = m.known(ctx, d)
		} else {
			err = m.showStored(ctx, &page[i], id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// showStored completes the copy of a device that is not in memory with its
// paused session.
func (m *Manager) showStored(ctx context.Context, v *Device, session int64) error {
	s, err := m.readStored(ctx, session)
	if err != nil || s == nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	shown := m.viewSession(s)
	if v.Connected = shown.State == Paused; v.Connected {
		v.Session = &shown
	}
	return nil
}

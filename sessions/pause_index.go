package sessions

// pauseIndex has the devices that have a session which is paused in place, also those that
// are not in memory: all of them may be. Manager.mu guards them.
type pauseIndex struct {
	sessions map[int64]pausedAt // by device
	devices  []int64            // all of them, in no order
}

// pausedAt is a device's session, and its place in devices.
type pausedAt struct {
	session int64
	place   int
}

// of returns the session of a device that is paused; 0: none.
func (p *pauseIndex) of(device int64) (session int64) { return p.sessions[device].session }

// put notes that a device's session is paused, in the place of another one.
func (p *pauseIndex) put(device, session int64) {
	at, there := p.sessions[device]
	if !there {
		at.place = len(p.devices)
		p.devices = append(p.devices, device)
	}
	at.session = session
	p.sessions[device] = at
}

// remove takes a device out, which may not be there.
func (p *pauseIndex) remove(device int64) {
	at, there := p.sessions[device]
	if !there {
		return
	}
	last := len(p.devices) - 1
	if moved := p.devices[last]; moved != device {
		p.devices[at.place] = moved
		p.sessions[moved] = pausedAt{p.sessions[moved].session, at.place}
	}
	p.devices = p.devices[:last]
	delete(p.sessions, device)
}

// clear takes all out.
func (p *pauseIndex) clear() {
	p.sessions, p.devices = make(map[int64]pausedAt), nil
}

// eachPaused gives f all pauses, in parts (see inParts). Of those that begin or end
// meanwhile f may miss one, and another one for each that ends.
func (m *Manager) eachPaused(f func(device, session int64)) {
	for at, more := 0, true; more; at += partLook {
		m.mu.Lock()
		all := m.paused.devices
		for _, device := range all[min(at, len(all)):min(at+partLook, len(all))] {
			f(device, m.paused.of(device))
		}
		more = at+partLook < len(all)
		m.mu.Unlock()
	}
}

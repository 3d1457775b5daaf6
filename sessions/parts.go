package sessions

import "slices"

// partLook is how many devices, or pauses, are looked at before others have m.mu: of
// 10,000 a whole look takes some ms, and on a busy box, where who has m.mu may have to
// wait for the processor, as many times that.
const partLook = 128

// inParts gives f each of the devices that is not nil, with m.mu held, which it gives
// back in between: what f sees is each device at one moment, and all of them at several.
func (m *Manager) inParts(devices []*device, f func(*device)) {
	for part := range slices.Chunk(devices, partLook) {
		m.mu.Lock()
		for _, d := range part {
			if d != nil {
				f(d)
			}
		}
		m.mu.Unlock()
	}
}

package clients

import "time"

// Count adds wire packets that were dropped for a reason at now (since boot).
// Forwarder's side.
func (l *Losses) Count(reason, packets int, now time.Duration) {
	s := &l[reason]
	s.Packets.Store(s.Packets.Load() + uint64(packets))
	s.Last.Store(max(int64(now), 1))
}

// Clear forgets what was dropped: the slot has another client. Forwarder's side.
func (l *Losses) Clear() {
	for i := range l {
		if l[i].Last.Load() != 0 {
			l[i].Last.Store(0)
			l[i].Packets.Store(0)
		}
	}
}

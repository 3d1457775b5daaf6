package sessions

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"time"

	"gatewayd/store/client"
)

// regulars remembers which MACs are on disk, so that in a flood of made-up MACs
// those that come back are not kept waiting for the others. It is a Bloom
// filter: of strangers, 0.1 % pass for regulars at 100,000 devices. Who was
// deleted stays in it until the next start.
type regulars struct {
	seed uint64
	bits [regularBits / 64]uint64
}

const (
	regularBits   = 1 << 21 // 256 KiB
	regularProbes = 4
)

func newRegulars() *regulars { return &regulars{seed: rand.Uint64()} }

// places calls f with the bits of a MAC until it returns false.
func (r *regulars) places(mac uint64, f func(word int, bit uint64) bool) {
	hi, lo := bits.Mul64(mac^r.seed, 0x9e3779b97f4a7c15)
	h := (hi ^ lo) * 0xff51afd7ed558ccd
	step := h>>32 | 1
	for range regularProbes {
		at := h >> 16 % regularBits
		if !f(int(at/64), 1<<(at%64)) {
			return
		}
		h += step << 16
	}
}

func (r *regulars) add(mac uint64) {
	r.places(mac, func(word int, bit uint64) bool { r.bits[word] |= bit; return true })
}

func (r *regulars) has(mac uint64) (all bool) {
	all = true
	r.places(mac, func(word int, bit uint64) bool { all = r.bits[word]&bit != 0; return all })
	return all
}

// learn takes in the MACs among records that are on disk.
func (m *Manager) learn(records []client.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		if hw, ok := bytes.CutPrefix(r.Key, []byte(macKeys)); ok && len(hw) == 6 && !r.Delete {
			m.regulars.add(uint64(binary.BigEndian.Uint16(hw))<<32 | uint64(binary.BigEndian.Uint32(hw[2:])))
		}
	}
}

// learnRegulars takes in all MACs on disk, as soon as the store can be read.
func (m *Manager) learnRegulars(ctx context.Context) {
	for !m.books.opened.Load() || m.learnAll(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryTime):
		}
	}
}

// learnAll does so page by page.
func (m *Manager) learnAll(ctx context.Context) error {
	var after []byte
	for more := true; more; {
		page, left, err := m.scan(ctx, []byte(macKeys), after, 0)
		if err != nil {
			return err
		}
		m.learn(page)
		if more = left && len(page) > 0; more {
			after = page[len(page)-1].Key
		}
	}
	return nil
}

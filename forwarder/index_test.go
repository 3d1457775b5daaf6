package forwarder

import (
	"testing"

	"pgregory.net/rapid"
)

func TestIndexAgainstAMap(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const slots = 16
		x, _ := newIndex(nil, slots)
		want := map[uint64]uint32{}
		for range rapid.IntRange(0, 200).Draw(r, "steps") {
			key := rapid.Uint64Range(1, 20).Draw(r, "key")
			slot := rapid.Uint32Range(0, slots-1).Draw(r, "slot")
			if rapid.Bool().Draw(r, "put") {
				if _, ok := want[key]; ok || len(want) < slots {
					x.put(key, slot)
					want[key] = slot
				}
			} else {
				x.drop(key, slot)
				if want[key] == slot {
					delete(want, key)
				}
			}
			for key := uint64(1); key <= 20; key++ {
				got, ok := x.find(key)
				if slot, there := want[key]; ok != there || ok && got != slot {
					r.Fatalf("key %d: slot %d, %v; want %d, %v", key, got, ok, slot, there)
				}
			}
		}
		x.put(0, 1)
		x.drop(0, 1)
		if _, ok := x.find(0); ok {
			r.Fatal("no key was found")
		}
	})
}

package clients

import "math"

// Spread gives each client its worker: a hash of its MAC, with keys that nobody
// outside knows, so that nobody can aim at a worker. It takes 32-bit steps that
// the kernel's classic BPF has, too.
type Spread struct {
	Workers uint32
	Keys    [3]uint32 // the second and third are odd
}

// NewSpread makes the keys of a seed.
func NewSpread(seed uint64, workers int) Spread {
	s := Spread{Workers: uint32(workers)}
	for i := range s.Keys { // splitmix64
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		s.Keys[i] = uint32(z ^ z>>31)
	}
	s.Keys[1] |= 1
	s.Keys[2] |= 1
	return s
}

// Of returns the worker of a MAC, 48 bits, first octet highest.
func (s *Spread) Of(mac uint64) int {
	h := (uint32(mac>>16) ^ s.Keys[0]) * s.Keys[1]
	h = (h ^ h>>15 ^ uint32(mac&0xffff)) * s.Keys[2]
	h = (h ^ h>>13) * s.Keys[1]
	return int((h >> 16) % s.Workers)
}

// SlotsFor returns how many slots a table needs, the host's included, so that each
// of so many clients finds one of its worker's: what a worker gets of them by chance
// exceeds its share by more than six standard deviations once in a billion
// times.
func SlotsFor(clients, workers int) int {
	if workers <= 1 {
		return clients + 1
	}
	share := float64(clients) / float64(workers)
	most := min(int(share+6*math.Sqrt(share))+8, clients)
	return workers * (most + 1)
}

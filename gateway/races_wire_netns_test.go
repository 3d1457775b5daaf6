//go:build netns

package gateway_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder/nat"
	"gatewayd/sessions/races"
)

// parcels sends datagrams of many devices, numbered, from the client's end of the
// cable, and has the server send each of them back. Behind each go those of the
// guides, devices that are always let in, one of each worker's: when all have arrived,
// what was sent before them has too, or never will. Both ends send from one thread on
// one processor, so that nothing overtakes what the same worker passes.
//
// The payload is the device (4 bytes, big-endian), the number (4 bytes), and zeros.
type parcels struct {
	t       *testing.T
	now     func() time.Duration
	gateway net.HardwareAddr
	out     chan [][]byte
	guides  []int  // devices; before the first parcel
	fds     [2]int // packet socket at the client, UDP socket at the server
	running sync.WaitGroup

	mu      sync.Mutex
	sent    []parcel             // by number
	news    map[uint32]chan bool // who waits for the echoes behind a parcel
	ports   map[int]uint16       // external, of devices that were seen at the server
	stopped bool
}

// parcel is what became of a datagram and of those behind it: moments of the
// test's own clock, 0: it has not come.
type parcel struct {
	device             int
	sent               time.Duration
	there, fenceThere  time.Duration // at the server; the last guide
	back, fenceBack    time.Duration // at the client; likewise
	guidesThere        int
	guidesBack         int
	sized, twice, lost bool
}

func newParcels(l *lab, now func() time.Duration) *parcels {
	l.t.Helper()
	p := &parcels{t: l.t, now: now, gateway: l.portMAC("eth1"), out: make(chan [][]byte), news: map[uint32]chan bool{}, ports: map[int]uint16{}}
	var link int
	check(l.t, l.client.do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		link = eth0.Index
		p.fds[0], err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_IP)))
		return err
	}))
	check(l.t, l.server.do(func() (err error) {
		if p.fds[1], err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(p.fds[1], &unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(serverIP).To4()), Port: 9})
	}))
	for _, fd := range p.fds {
		check(l.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
		check(l.t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	}
	for _, n := range []*namespace{l.client, l.server} {
		n.count(races.Devices - 1)
	}
	for _, f := range []func() error{func() error { return p.sends(link) }, p.echoes, p.receives} {
		p.running.Go(func() {
			if err := onThread(f); err != nil {
				l.t.Error(err)
			}
		})
	}
	l.t.Cleanup(p.end)
	return p
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// stay keeps the thread on one processor.
func stay() error {
	var may, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return err
	}
	for cpu := range 1024 {
		if may.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	return unix.SchedSetaffinity(0, &one)
}

func (p *parcels) end() {
	p.mu.Lock()
	stopped := p.stopped
	p.stopped = true
	p.mu.Unlock()
	if !stopped {
		close(p.out)
		p.running.Wait()
		unix.Close(p.fds[0])
		unix.Close(p.fds[1])
	}
}

func (p *parcels) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

func (p *parcels) sends(link int) error {
	err := stay()
	for frames := range p.out {
		for _, frame := range frames {
			if sent := unix.Sendto(p.fds[0], frame, 0, &unix.SockaddrLinklayer{Ifindex: link}); sent != nil {
				err = sent
			}
		}
	}
	return err
}

// echoes is the server.
func (p *parcels) echoes() error {
	if err := stay(); err != nil {
		return err
	}
	buf := make([]byte, 2048)
	for !p.over() {
		n, from, err := unix.Recvfrom(p.fds[1], buf, 0)
		if err != nil {
			continue // nothing for a while
		}
		if at, ok := from.(*unix.SockaddrInet4); ok {
			p.arrived(buf[:n], uint16(at.Port))
		}
		if err := unix.Sendto(p.fds[1], buf[:n], 0, from); err != nil {
			return err
		}
	}
	return nil
}

func (p *parcels) receives() error {
	const headers = 14 + 20 + 8
	buf := make([]byte, 2048)
	for !p.over() {
		n, _, err := unix.Recvfrom(p.fds[0], buf, 0)
		if err == nil && n >= headers+8 && buf[23] == unix.IPPROTO_UDP {
			p.arrived(buf[headers:n], 0)
		}
	}
	return nil
}

// arrived notes a datagram at the server, from an external port, or back at the client,
// from 0.
func (p *parcels) arrived(payload []byte, from uint16) {
	if len(payload) < 8 {
		return
	}
	device, number := binary.BigEndian.Uint32(payload), binary.BigEndian.Uint32(payload[4:])
	there := from != 0
	p.mu.Lock()
	defer p.mu.Unlock()
	if there {
		p.ports[int(device)] = from
	}
	if uint64(number) >= uint64(len(p.sent)) {
		return
	}
	x := &p.sent[number]
	if slices.Contains(p.guides, int(device)) {
		n, at := &x.guidesBack, &x.fenceBack
		if there {
			n, at = &x.guidesThere, &x.fenceThere
		}
		if *n++; *n == len(p.guides) {
			*at = p.now()
		}
		if heard := p.news[number]; x.fenceBack != 0 && heard != nil {
			close(heard)
			delete(p.news, number)
		}
		return
	}
	at := &x.back
	if there {
		at = &x.there
	}
	x.twice = x.twice || *at != 0
	x.sized = len(payload) == races.Parcel-28
	if *at == 0 {
		*at = p.now()
	}
}

// noParcel is the number of a datagram that is none.
const noParcel = 1<<32 - 1

// workerOf says whose of so many workers a device that is let in is: each has its slice
// of the external ports.
func (p *parcels) workerOf(device, workers int) (worker int) {
	p.t.Helper()
	eventually(p.t, soon, fmt.Sprintf("a datagram of device %d arrives", device), func() error {
		p.out <- [][]byte{frame(device, noParcel, 60, p.gateway)}
		time.Sleep(5 * time.Millisecond)
		p.mu.Lock()
		defer p.mu.Unlock()
		port, seen := p.ports[device]
		for worker = range workers {
			if low, high := (nat.Options{Owners: workers}).Slice(worker); seen && low <= port && port <= high {
				return nil
			}
		}
		return errNotYet
	})
	return worker
}

// pass sends a device's next parcel and waits until what became of it is known.
func (p *parcels) pass(device int) error {
	heard := make(chan bool)
	p.mu.Lock()
	number := uint32(len(p.sent))
	p.sent = append(p.sent, parcel{device: device, sent: p.now()})
	p.news[number] = heard
	p.mu.Unlock()
	frames := [][]byte{frame(device, number, races.Parcel, p.gateway)}
	for _, guide := range p.guides {
		frames = append(frames, frame(guide, number, 60, p.gateway))
	}
	p.out <- frames
	select {
	case <-heard:
		return nil
	case <-time.After(2 * soon):
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sent[number].lost = true
		return fmt.Errorf("a guide behind parcel %d is lost", number)
	}
}

// frame is a member's datagram of size bytes of layer 3.
func frame(device int, number uint32, size int, gateway net.HardwareAddr) []byte {
	f := append(datagram(device, gateway), make([]byte, max(size-100, 0))...)[:14+size]
	ip := f[14:]
	binary.BigEndian.PutUint16(ip[2:], uint16(size))
	binary.BigEndian.PutUint16(ip[10:], 0)
	sum := uint32(0)
	for b := ip[:20]; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	binary.BigEndian.PutUint16(ip[24:], uint16(size-20))
	binary.BigEndian.PutUint32(ip[28:], uint32(device))
	binary.BigEndian.PutUint32(ip[32:], number)
	return f
}

// into adds what became of all parcels to a history: a packet up, and one down if
// it was sent back.
func (p *parcels) into(h *races.History) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for number, x := range p.sent {
		switch {
		case x.lost:
			continue // it was said
		case x.twice || (x.there != 0 && !x.sized) || x.back != 0 && x.there == 0:
			h.Oddly("parcel %d became %+v", number, x)
		}
		c := races.Call{Verb: races.Pass, Device: x.device}
		if x.there == 0 {
			h.Add(c, races.Answer{Session: races.Dropped}, x.sent, x.fenceThere)
			continue
		}
		h.Add(c, races.Answer{Session: races.Somebody}, x.sent, x.there)
		if x.back == 0 {
			h.Add(c, races.Answer{Session: races.Dropped}, x.there, x.fenceBack)
			continue
		}
		h.Add(c, races.Answer{Session: races.Somebody}, x.there, x.back)
	}
}

// count has nftables count the parcels of each device up to last that arrive at
// eth0.
func (n *namespace) count(last int) {
	n.t.Helper()
	var named, rules strings.Builder
	for i := range last + 1 {
		fmt.Fprintf(&named, "counter of_%d {}\n", i)
		fmt.Fprintf(&rules, "meta l4proto udp @th,64,32 %d counter name of_%d\n", i, i)
	}
	n.run("nft", "table netdev parcels {\n"+named.String()+"chain in { type filter hook ingress device eth0 priority 1;\n"+rules.String()+"}\n}")
}

// counted is how many bytes of layer 3 have arrived of each device.
func (n *namespace) counted(last int) []uint64 {
	n.t.Helper()
	var answer struct {
		Nftables []struct {
			Counter *struct {
				Name  string
				Bytes uint64
			}
		}
	}
	check(n.t, json.Unmarshal([]byte(n.run("nft", "--json", "list", "counters", "table", "netdev", "parcels")), &answer))
	all := make([]uint64, last+1)
	for _, item := range answer.Nftables {
		var i int
		if c := item.Counter; c != nil {
			if _, err := fmt.Sscanf(c.Name, "of_%d", &i); err == nil {
				all[i] = c.Bytes
			}
		}
	}
	return all
}

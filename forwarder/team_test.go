package forwarder

import (
	"testing"

	"golang.org/x/net/bpf"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
)

// teamSize is how many workers a bench has from now on.
var teamSize = 1

// withWorkers runs a test with several workers.
func withWorkers(t *testing.T, n int) {
	t.Helper()
	teamSize = n
	t.Cleanup(func() { teamSize = 1 })
}

// teamShape is a table of which alice's and bob's slots are of the workers that
// their MACs have.
func teamShape(cfg Config) clients.Shape {
	s := clients.Shape{Slots: 16, NATBytes: TableBytes(cfg.NATFlows, teamSize), Workers: teamSize, Captured: 1 << 18}
	for ; ; s.Seed++ {
		spread := clients.NewSpread(s.Seed, teamSize)
		if spread.Of(aliceMAC) == alice%teamSize && spread.Of(bobMAC) == bob%teamSize {
			return s
		}
	}
}

// team is what a bench of several workers has more than one of: links, to which
// the kernel's part gives frames by the programs that the kernel gets.
type team struct {
	b        *bench
	links    []Links
	programs [clients.NumPorts]*bpf.VM
	order    [clients.NumPorts][]int // by what a program says: the worker that gets the frame
}

func newTeam(b *bench) *team {
	tm := &team{b: b, links: make([]Links, teamSize)}
	outside := FanOutWAN(teamSize)
	if b.cfg.Bridge {
		outside = FanOutBridge(b.table.Spread())
	}
	for port, program := range [][]bpf.Instruction{
		clients.LAN: FanOutLAN(b.table.Spread()), clients.WAN: outside, clients.Host: {bpf.RetConstant{Val: 0}},
	} {
		tm.programs[port] = wholeFrames(b, program)
		var ends []link.Link
		for i := range tm.links {
			near, far := link.Pipe()
			tm.links[i][port] = near
			ends = append(ends, far)
			tm.order[port] = append(tm.order[port], i)
		}
		b.ends[port] = &fan{tm, port, ends}
	}
	b.links = tm.links[0]
	return tm
}

func (tm *team) start() {
	b := tm.b
	b.Helper()
	links := append([]Links(nil), tm.links...)
	crew, err := newCrew(b.cfg, links, b.table, nil, func() { b.woken++ }, b.clock)
	if err != nil {
		b.Fatal(err)
	}
	if b.crew != nil {
		if err := b.crew.Close(); err != nil {
			b.Fatal(err)
		}
	}
	for _, f := range crew.workers {
		if !b.announces {
			f.announcements = [clients.NumPorts]announcement{}
		}
		f.aheadFrom = 0
	}
	b.crew, b.f = crew, crew.workers[0]
}

// fan is the far end of one port's links.
type fan struct {
	tm   *team
	port int
	ends []link.Link
}

func (n *fan) Send(frames [][]byte, taken []bool) error {
	for i, raw := range frames {
		said, err := n.tm.programs[n.port].Run(raw[min(packet.VirtioLen, len(raw)):])
		if err != nil {
			return err
		}
		worker := n.tm.order[n.port][said%len(n.ends)]
		if err := n.ends[worker].Send(frames[i:i+1], taken[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (n *fan) Receive() ([][]byte, error) {
	for _, e := range n.ends {
		if frames, err := e.Receive(); frames != nil || err != nil {
			return frames, err
		}
	}
	return nil, nil
}

func (n *fan) FD() int { return -1 }

func (n *fan) Close() error {
	for i, e := range n.ends {
		e.Close()
		n.tm.links[i][n.port].Close()
	}
	return nil
}

// wholeFrames makes a program that runs on whole frames of one that runs on the
// network header, as the kernel's do.
func wholeFrames(t testing.TB, program []bpf.Instruction) *bpf.VM {
	t.Helper()
	moved := append([]bpf.Instruction(nil), program...)
	at := func(off uint32) uint32 {
		if off >= linkLayer {
			return off - linkLayer
		}
		return off + packet.EthernetLen
	}
	for i, ins := range moved {
		switch ins := ins.(type) {
		case bpf.LoadAbsolute:
			moved[i] = bpf.LoadAbsolute{Off: at(ins.Off), Size: ins.Size}
		case bpf.LoadIndirect:
			moved[i] = bpf.LoadIndirect{Off: at(ins.Off), Size: ins.Size}
		case bpf.LoadMemShift:
			moved[i] = bpf.LoadMemShift{Off: at(ins.Off)}
		}
	}
	vm, err := bpf.NewVM(moved)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// astray has every frame come to another worker than the program says, as while
// sockets stand in their group in another order.
func (tm *team) astray() {
	for port := range tm.order[:clients.Host] {
		for i := range tm.order[port] {
			tm.order[port][i] = (i + 1) % teamSize
		}
	}
}

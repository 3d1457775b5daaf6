package ports

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
)

// Options say how a port is opened.
type Options struct {
	// StateDir is the directory, made if missing, that remembers what to put
	// back. It should not survive a boot any longer than sysctls do: /run.
	StateDir string

	// Promiscuous also receives frames sent to other MAC addresses than the
	// port's own.
	Promiscuous bool

	// ReceiveBuffer and SendBuffer are the socket's buffers in bytes as the
	// kernel charges them, several times the frames' own length when these are
	// small. Zero means DefaultBuffer.
	ReceiveBuffer, SendBuffer int

	// Sockets is how many a port has, for as many workers of the forwarder; zero
	// means one. A TAP has one. Several are deaf until package link has joined them
	// in a group: alone each would get every frame.
	Sockets int

	// Transmit opens as many sockets more, for transmit rings.
	Transmit bool

	// ClassicDrop attaches the ingress drop by clsact and cls_bpf, as is done
	// on kernels before 6.6, even where TCX is to be had.
	ClassicDrop bool

	// CutUDP has the kernel cut UDP super-packets before a TAP gives them, as
	// is done on kernels before 6.2, even where it would not.
	CutUDP bool
}

// A Side is what belongs to gatewayd on one side.
type Side struct {
	Name    string       // of the interface, or of the TAP device
	TAP     bool         // a TAP device that Open makes, not an interface that is there
	Own     []netip.Addr // gatewayd's own addresses on this side
	Clients bool         // it is the clients' side
}

// A Port is a side that belongs to gatewayd. Its methods may be called by
// several goroutines.
type Port struct {
	side Side
	opt  Options

	mu      sync.Mutex
	index   int
	mac     net.HardwareAddr
	mtu     int
	memory  *memory
	drop    *drop          // nil when there is none
	files   []*os.File     // the sockets or the TAP's descriptor; none after a failed Reopen
	senders []*os.File     // sockets for transmit rings, as files
	closing sync.WaitGroup // those before it
}

// Open takes the interface of a side away from the kernel, or makes the side's
// TAP device. On a port with conflicts it changes nothing and returns a
// *ConflictError. Other errors wrap ErrMissing or ErrNotEthernet where they
// apply, and what was changed before is put back.
func Open(side Side, opt Options) (*Port, error) {
	p := &Port{side: side, opt: opt}
	found, err := Conflicts(side)
	if err == nil && len(found) > 0 {
		err = &ConflictError{Port: side.Name, Conflicts: found}
	}
	if err == nil {
		err = p.open(false)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open port: %w", err), p.Close())
	}
	return p, nil
}

// open opens what is there; same says that it is what was open before.
func (p *Port) open(same bool) error {
	if p.side.TAP {
		return p.openTAP()
	}
	l, err := findEthernet(p.side.Name)
	if err != nil {
		return err
	}
	if err := p.take(l, same); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", p.side.Name, err)
	}
	p.mac, p.mtu = l.Attrs().HardwareAddr, l.Attrs().MTU
	for range max(p.opt.Sockets, 1) {
		f, err := openSocket(l, p.opt, true)
		if err != nil {
			return errors.Join(err, p.closeFiles())
		}
		p.files = append(p.files, f)
		if !p.opt.Transmit {
			continue
		}
		if f, err = openSocket(l, p.opt, false); err != nil {
			return errors.Join(err, p.closeFiles())
		}
		p.senders = append(p.senders, f)
	}
	return nil
}

// take makes the kernel deaf and silent on the interface, unless it is the same
// as before and therefore is.
func (p *Port) take(l netlink.Link, same bool) error {
	if p.index != 0 && p.index != l.Attrs().Index { // a new interface of this name
		if err := p.release(); err != nil {
			return err
		}
	}
	if p.memory == nil {
		m, err := recall(p.opt.StateDir, p.side.Name, l.Attrs().Index)
		if err != nil {
			return err
		}
		if err := m.keep(); err != nil {
			return err
		}
		p.memory, p.index = m, l.Attrs().Index
	}
	if p.drop == nil || !same {
		fresh, err := attachDrop(l, p.memory, p.opt.ClassicDrop)
		if err != nil {
			return err
		}
		if p.drop != nil {
			_ = p.drop.replaced() // its interface may be gone
		}
		p.drop = fresh
	}
	return p.memory.silenceIPv6(p.side.Name)
}

// release undoes take.
func (p *Port) release() (err error) {
	if p.drop != nil {
		err = p.drop.detach()
		p.drop = nil
	}
	if p.memory != nil {
		if e := p.memory.restoreIPv6(p.side.Name); e != nil {
			err = errors.Join(err, e)
		} else {
			err = errors.Join(err, p.memory.forget())
		}
		p.memory = nil
	}
	p.index = 0
	return err
}

// Reopen opens a fresh socket, in which nothing waits, and closes the old one
// meanwhile. IPv6 stays off and the ingress drop attached, and if another interface
// has taken the place and name of the old one it is taken over too, whatever
// conflicts it has: deaf is better than not ours. A TAP keeps its descriptor as long
// as the device is there, and is made again when it is not. After an error the
// port has no descriptor; Reopen may be tried again.
func (p *Port) Reopen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	same := p.attached()
	switch {
	case !p.side.TAP:
		p.closeMeanwhile()
	case !same:
		err = p.closeFiles() // the device's name is free after that
	}
	if e := p.open(same); e != nil {
		return fmt.Errorf("reopen port: %w", e)
	}
	return err
}

// closeMeanwhile closes the socket without waiting for the kernel, which takes its
// time (synchronize_net) while no packet passes.
func (p *Port) closeMeanwhile() {
	for _, old := range slices.Concat(p.files, p.senders) {
		p.closing.Go(func() { _ = old.Close() })
	}
	p.files, p.senders = nil, nil
}

// Close gives the port back to the kernel. Its link stays up, and a TAP device
// is there for the next run.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.closing.Wait()
	return errors.Join(p.closeFiles(), p.release())
}

func (p *Port) closeFiles() error {
	var all []error
	for _, f := range slices.Concat(p.files, p.senders) {
		all = append(all, f.Close())
	}
	p.files, p.senders = nil, nil
	return errors.Join(all...)
}

// Files are to be handed to the forwarder: packet sockets with PACKET_VNET_HDR, in
// the order of its workers, or a TAP's descriptor with IFF_VNET_HDR. They belong to
// the port and end with Close, and sockets with Reopen. There are none after a
// failed Reopen.
func (p *Port) Files() []*os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.files)
}

// Senders are likewise, if Options.Transmit asked for them: packet sockets with
// PACKET_VNET_HDR that receive nothing. A TAP has none.
func (p *Port) Senders() []*os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.senders)
}

// Name is the interface's name.
func (p *Port) Name() string { return p.side.Name }

// TAP says whether the port is a TAP device.
func (p *Port) TAP() bool { return p.side.TAP }

// Claim says that gatewayd has other addresses of its own on this side from now on.
func (p *Port) Claim(own []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.side.Own = own
}

// MAC is gatewayd's address on this side, as of the last Open or Reopen: the
// interface's own, or that of our end of a TAP.
func (p *Port) MAC() net.HardwareAddr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mac
}

// MTU is the interface's largest IP packet in bytes, as of the last Open, Reopen or
// State.
func (p *Port) MTU() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mtu
}

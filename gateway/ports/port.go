package ports

import (
	"errors"
	"fmt"
	"net"
	"os"

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

	// ClassicDrop attaches the ingress drop by clsact and cls_bpf, as is done
	// on kernels before 6.6, even where TCX is to be had.
	ClassicDrop bool
}

// A Port is an Ethernet interface that belongs to gatewayd.
type Port struct {
	name   string
	opt    Options
	index  int
	mac    net.HardwareAddr
	mtu    int
	memory *memory
	detach func() error // removes the ingress drop; nil when there is none
	file   *os.File     // the socket; nil after a failed Reopen
}

// Open takes the port of that name away from the kernel. On a port with
// conflicts it changes nothing and returns a *ConflictError. Other errors wrap
// ErrMissing or ErrNotEthernet where they apply, and what was changed before is
// put back.
func Open(name string, opt Options) (*Port, error) {
	p := &Port{name: name, opt: opt}
	if err := p.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open port: %w", err), p.Close())
	}
	return p, nil
}

func (p *Port) open() error {
	l, err := findEthernet(p.name)
	if err != nil {
		return err
	}
	if p.index != 0 && p.index != l.Attrs().Index { // a new interface of this name
		if err := p.release(); err != nil {
			return err
		}
	}
	if p.index == 0 {
		if err := p.take(l); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", p.name, err)
	}
	p.mac, p.mtu = l.Attrs().HardwareAddr, l.Attrs().MTU
	p.file, err = openSocket(l, p.opt)
	return err
}

// take makes the kernel deaf and silent on the interface.
func (p *Port) take(l netlink.Link) error {
	found, err := conflictsOf(l)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return &ConflictError{Port: p.name, Conflicts: found}
	}
	m, err := recall(p.opt.StateDir, p.name, l.Attrs().Index)
	if err != nil {
		return err
	}
	if err := m.keep(); err != nil {
		return err
	}
	p.memory, p.index = m, l.Attrs().Index
	if err := m.silenceIPv6(p.name); err != nil {
		return err
	}
	p.detach, err = attachDrop(l, m, p.opt.ClassicDrop)
	return err
}

// release undoes take.
func (p *Port) release() (err error) {
	if p.detach != nil {
		err = p.detach()
		p.detach = nil
	}
	if p.memory != nil {
		if e := p.memory.restoreIPv6(p.name); e != nil {
			err = errors.Join(err, e)
		} else {
			err = errors.Join(err, p.memory.forget())
		}
		p.memory = nil
	}
	p.index = 0
	return err
}

// Reopen closes the socket and opens a fresh one, in which nothing waits. IPv6
// stays off and the ingress drop attached, and if another interface has taken
// the place and name of the old one it is taken over too. After an error the
// port has no socket; Reopen may be tried again.
func (p *Port) Reopen() error {
	err := p.closeSocket()
	if e := p.open(); e != nil {
		return fmt.Errorf("reopen port: %w", e)
	}
	return err
}

// Close gives the port back to the kernel. Its link stays up.
func (p *Port) Close() error {
	return errors.Join(p.closeSocket(), p.release())
}

func (p *Port) closeSocket() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	return err
}

// File is the socket, to be handed to the forwarder: a packet socket with
// PACKET_VNET_HDR. It belongs to the port and ends with
// Reopen and Close. It is nil after a failed Reopen.
func (p *Port) File() *os.File { return p.file }

// Name is the interface's name.
func (p *Port) Name() string { return p.name }

// MAC is the interface's address when the socket was opened.
func (p *Port) MAC() net.HardwareAddr { return p.mac }

// MTU is the interface's largest IP packet in bytes when the socket was opened.
func (p *Port) MTU() int { return p.mtu }

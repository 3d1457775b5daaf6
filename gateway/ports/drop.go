package ports

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dropName is the name of the program and of the cls_bpf filter, as bpftool and
// tc show it.
const dropName = "gatewayd_drop"

// dropProgram loads the program that ends every frame. Its verdict is TCX_DROP,
// which is TC_ACT_SHOT for cls_bpf.
func dropProgram() (*ebpf.Program, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("lift RLIMIT_MEMLOCK: %w", err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:    dropName,
		Type:    ebpf.SchedCLS,
		License: "Apache-2.0",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R0, 2),
			asm.Return(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("load the ingress drop: %w", err)
	}
	return p, nil
}

// drop is an ingress drop on an interface.
type drop struct {
	tcx    link.Link // nil: by cls_bpf
	link   netlink.Link
	memory *memory
}

// attachDrop makes every frame received on the interface end behind the packet
// sockets. It prefers TCX and falls back to clsact and cls_bpf, which classic
// asks for even where TCX is to be had.
func attachDrop(l netlink.Link, m *memory, classic bool) (*drop, error) {
	prog, err := dropProgram()
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	name := l.Attrs().Name
	if !classic {
		tcx, err := link.AttachTCX(link.TCXOptions{
			Interface: l.Attrs().Index,
			Program:   prog,
			Attach:    ebpf.AttachTCXIngress,
			Anchor:    link.Head(),
		})
		if err == nil {
			return &drop{tcx: tcx}, nil
		}
		if !errors.Is(err, ebpf.ErrNotSupported) {
			return nil, fmt.Errorf("attach the ingress drop to %s: %w", name, err)
		}
	}
	if err := attachClassicDrop(l, m, prog.FD()); err != nil {
		return nil, fmt.Errorf("attach the ingress drop to %s by cls_bpf: %w", name, err)
	}
	return &drop{link: l, memory: m}, nil
}

// detach removes the drop; an interface that is gone has taken it along.
func (d *drop) detach() error {
	if d.tcx != nil {
		return d.tcx.Close()
	}
	if err := detachClassicDrop(d.link, d.memory); err != nil {
		return fmt.Errorf("detach the ingress drop of %s by cls_bpf: %w", d.link.Attrs().Name, err)
	}
	return nil
}

// replaced ends a drop in whose place another one is attached by now. A cls_bpf
// filter is that other one.
func (d *drop) replaced() error {
	if d.tcx != nil {
		return d.tcx.Close()
	}
	return nil
}

// clsact is the qdisc that holds ingress filters.
func clsact(l netlink.Link) netlink.Qdisc {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: l.Attrs().Index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

// classicDrop is the filter, in front of all others.
func classicDrop(l netlink.Link, fd int) netlink.Filter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: l.Attrs().Index,
			Parent:    netlink.HANDLE_MIN_INGRESS,
			Handle:    1,
			Priority:  1,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           fd,
		Name:         dropName,
		DirectAction: true,
	}
}

func attachClassicDrop(l netlink.Link, m *memory, fd int) error {
	switch err := netlink.QdiscAdd(clsact(l)); {
	case err == nil:
		m.Clsact = true
		if err := m.keep(); err != nil {
			return err
		}
	case !errors.Is(err, unix.EEXIST):
		return err
	}
	return netlink.FilterReplace(classicDrop(l, fd))
}

// detachClassicDrop removes the filter, and the qdisc when it is ours and nobody
// else uses it by now. An interface that is gone has taken both along.
func detachClassicDrop(l netlink.Link, m *memory) error {
	err := netlink.FilterDel(classicDrop(l, -1))
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if !m.Clsact {
		return nil
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		others, err := netlink.FilterList(l, parent)
		if err != nil {
			return err
		}
		if len(others) > 0 {
			return nil
		}
	}
	return netlink.QdiscDel(clsact(l))
}

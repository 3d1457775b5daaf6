package ports

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Bits of TUNSETOFFLOAD from linux/if_tun.h: what a TAP's reader can take as it
// is.
const (
	tunCsum   = 0x01 // checksums that are not complete
	tunTSO4   = 0x02 // TCP super-packets over IPv4
	tunTSO6   = 0x04 // and over IPv6
	tunTSOECN = 0x08 // with CWR set
	tunUSO4   = 0x20 // UDP super-packets over IPv4, since kernel 6.2 and
	tunUSO6   = 0x40 // only together with those over IPv6
)

// A Tap is a TAP device that exists as long as somebody holds its descriptor.
type Tap struct {
	name string
	file *os.File
}

// OpenTap makes a TAP device of that name, of at most 15 characters, whose
// descriptor speaks frames as package link describes them, and which takes
// super-packets. A device of that name that a killed run left behind is taken
// over; one that is in use, or is no TAP, is an error. The device is down and
// has no address. cutUDP is as in Options.
func OpenTap(name string, cutUDP bool) (*Tap, error) {
	fd, err := openTapDevice(name, tapOptions{cutUDP: cutUDP})
	if err != nil {
		return nil, err
	}
	return &Tap{name: name, file: os.NewFile(uintptr(fd), "TAP "+name)}, nil
}

// tapOptions say how a TAP device is attached to.
type tapOptions struct {
	stays  bool // it does not vanish with the descriptor
	cutUDP bool // it takes no UDP super-packets
}

// openTapDevice attaches to the TAP device of that name, which is made if there
// is none. After an error a device that was made is gone.
func openTapDevice(name string, opt tapOptions) (int, error) {
	old, err := findTAP(name)
	if err != nil {
		return -1, err
	}
	if old == nil {
		if err := makeTap(name); err != nil {
			return -1, fmt.Errorf("make TAP %s: %w", name, err)
		}
	}
	// water knows no virtio_net_hdr, so the device is attached to once more.
	fd, err := attachTap(name, opt)
	if err == nil {
		return fd, nil
	}
	if old == nil {
		if l, e := netlink.LinkByName(name); e == nil {
			err = errors.Join(err, netlink.LinkDel(l))
		}
	}
	return -1, fmt.Errorf("attach to TAP %s: %w", name, err)
}

// makeTap makes a device that stays.
func makeTap(name string) error {
	config := water.Config{DeviceType: water.TAP}
	config.Name, config.Persist = name, true
	// A child forked meanwhile would hold water's descriptor, which is not
	// close-on-exec, and with it the device.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	made, err := water.New(config)
	if err != nil {
		return fmt.Errorf("%w: it takes /dev/net/tun: run modprobe tun, or give the container that device", err)
	}
	return made.Close()
}

// attachTap opens the queue of a TAP device that exists.
func attachTap(name string, opt tapOptions) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	if err := configureTap(fd, name, opt); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func configureTap(fd int, name string, opt tapOptions) error {
	const flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(flags)
	switch err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("TUNSETIFF: %w: another program has its queue; end that, or choose another name", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("TUNSETIFF: %w: it may have several queues; run: ip link del %s", err, name)
	case err != nil:
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	persist := 0
	if opt.stays {
		persist = 1
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, persist); err != nil {
		return fmt.Errorf("TUNSETPERSIST: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return fmt.Errorf("TUNGETIFF: %w", err)
	}
	if got := ifr.Uint16(); got&flags != flags { // TUNSETIFF may ignore a flag and succeed
		return fmt.Errorf("the device has flags %#x and would not take %#x", got, flags)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, 10); err != nil {
		return fmt.Errorf("TUNSETVNETHDRSZ: %w", err)
	}
	const tcp = tunCsum | tunTSO4 | tunTSO6 | tunTSOECN
	if !opt.cutUDP && unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp|tunUSO4|tunUSO6) == nil {
		return nil
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp); err != nil {
		return fmt.Errorf("TUNSETOFFLOAD: %w", err)
	}
	return nil
}

// File is the descriptor, to be handed to the forwarder. It belongs to the Tap.
func (t *Tap) File() *os.File { return t.file }

// Name is the device's name.
func (t *Tap) Name() string { return t.name }

// Close removes the device, also from under a forwarder that still holds its
// descriptor.
func (t *Tap) Close() error {
	var err error
	if l, e := netlink.LinkByName(t.name); e == nil {
		if err = netlink.LinkDel(l); err != nil {
			err = fmt.Errorf("remove TAP %s: %w", t.name, err)
		}
	}
	return errors.Join(err, t.file.Close())
}

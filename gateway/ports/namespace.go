package ports

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// namespaceOf opens the network namespace that a TAP device is in; -1 when it
// is the calling thread's own.
func namespaceOf(tap int) (int, error) {
	space, err := unix.IoctlRetInt(tap, unix.TUNGETDEVNETNS)
	if err != nil {
		return -1, fmt.Errorf("TUNGETDEVNETNS: %w", err)
	}
	var its, ours unix.Stat_t
	err = unix.Fstat(space, &its)
	if err == nil {
		err = unix.Stat("/proc/thread-self/ns/net", &ours)
	}
	if err != nil || its.Ino == ours.Ino && its.Dev == ours.Dev {
		unix.Close(space)
		return -1, err
	}
	unix.CloseOnExec(space)
	return space, nil
}

// linkIn looks an interface up in a network namespace; -1 is the calling
// thread's. Another one is asked from here, by the id that it has here
// (IFLA_TARGET_NETNSID): to enter it would take CAP_SYS_ADMIN.
func linkIn(space int, name string) (netlink.Link, error) {
	if space < 0 {
		return netlink.LinkByName(name)
	}
	id, err := namespaceID(space)
	if err != nil {
		return nil, fmt.Errorf("name its network namespace: %w", err)
	}
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(id))))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	answers, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return nil, fmt.Errorf("look it up in its network namespace: %w", err)
	}
	if len(answers) != 1 {
		return nil, fmt.Errorf("look it up in its network namespace: %d answers", len(answers))
	}
	return netlink.LinkDeserialize(nil, answers[0])
}

// namespaceID is the id by which this network namespace knows another one, which
// is given one if it has none.
func namespaceID(space int) (int, error) {
	id, err := netlink.GetNetNsIdByFd(space)
	if err != nil || id >= 0 {
		return id, err
	}
	const any = -1
	if err := netlink.SetNetNsIdByFd(space, any); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return netlink.GetNetNsIdByFd(space)
}

package gateway

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// need is a capability that the keeper cannot do without (capabilities(7)).
type need struct {
	bit  int
	name string
}

// needs are those to take ports and to start children as id.
func needs(id identity) []need {
	all := []need{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}, {unix.CAP_SETPCAP, "CAP_SETPCAP"}}
	if id.as {
		all = append(all, need{unix.CAP_SETUID, "CAP_SETUID"}, need{unix.CAP_SETGID, "CAP_SETGID"})
	}
	return all
}

// checkNeeds refuses to start without what the keeper cannot do without.
func checkNeeds(id identity) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	return lacking(needs(id), uint64(sets[1].Effective)<<32|uint64(sets[0].Effective))
}

func lacking(all []need, has uint64) error {
	var missing []string
	for _, n := range all {
		if has>>n.bit&1 == 0 {
			missing = append(missing, n.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("gatewayd may not do its work without %s: run it as root, and give its container or unit these capabilities",
		strings.Join(missing, ", "))
}

package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/config"
	"gatewayd/gateway/ports"
)

// check refuses ports that the kernel has its hands on, and those beside another
// gateway, for which it waits a moment: it may be ending.
func (k *keeper) check() error {
	for end := time.Now().Add(formerPatience); ; time.Sleep(100 * time.Millisecond) {
		err := ports.HostTaken(config.HostLink)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return err
		}
	}
	return checkSides(k.cfg)
}

// checkSides refuses ports that the kernel has its hands on.
func checkSides(cfg *config.Config) error {
	var all []error
	for _, side := range sides(cfg) {
		all = append(all, checkPort(side))
	}
	return errors.Join(all...)
}

// sides are what the config gives gatewayd, by clients.LAN and WAN.
func sides(cfg *config.Config) [2]ports.Side {
	return [...]ports.Side{
		clients.LAN: {Name: cfg.LAN.Port(), TAP: cfg.LAN.TAP != "", Own: []netip.Addr{cfg.LAN.Address.Addr()}, Clients: true},
		clients.WAN: {Name: cfg.WAN.Port(), TAP: cfg.WAN.TAP != "", Own: cfg.WAN.Own()},
	}
}

func checkPort(side ports.Side) error {
	found, err := ports.Conflicts(side)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return &ports.ConflictError{Port: side.Name, Conflicts: found}
	}
	return nil
}

// degraded says in words what a port's state stops.
func degraded(st ports.State) []string {
	var why []string
	for _, c := range st.Conflicts {
		why = append(why, fmt.Sprintf("admission is stopped: port %s: %s; run: %s", st.Name, c.What, c.Mend))
	}
	switch {
	case st.Present && st.Err != nil:
		why = append(why, fmt.Sprintf("port %s: %v", st.Name, st.Err))
	case st.Name == "" || st.Works():
	case !st.Present:
		why = append(why, fmt.Sprintf("port %s is away: %v; plug it in, and it is taken again", st.Name, st.Err))
	case st.TAP && st.Away:
		why = append(why, fmt.Sprintf("port %s is down in the network namespace it was moved to: set it up there", st.Name))
	case st.TAP:
		why = append(why, fmt.Sprintf("port %s is down at the kernel's end; run: ip link set %s up", st.Name, st.Name))
	case !st.Up:
		why = append(why, fmt.Sprintf("port %s is down; run: ip link set %s up", st.Name, st.Name))
	default:
		why = append(why, fmt.Sprintf("port %s has no link: check the cable", st.Name))
	}
	return why
}

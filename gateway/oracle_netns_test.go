//go:build netns

package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// MTUs of the lab of the oracle.
const (
	lanMTU = 1500
	wanMTU = 1400
)

// kernelRules is the NAT that the kernel is with nftables, as a careful home
// router has it.
const kernelRules = `
table ip nat {
	chain postrouting { type nat hook postrouting priority srcnat; oif eth0 counter masquerade; }
}
table ip filter {
	chain input { type filter hook input priority filter; policy drop; }
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state invalid drop
		iif eth1 oif eth0 accept
		iif eth0 ct state established,related accept
	}
}
`

// kernelIsTheGateway makes the kernel do what gatewayd does.
func (l *lab) kernelIsTheGateway() {
	l.t.Helper()
	for key, value := range map[string]string{
		"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "1", "ipv4/conf/eth1/rp_filter": "1", "ipv6/conf/all/disable_ipv6": "1",
		"ipv4/icmp_ratelimit": "0",
	} {
		l.gateway.setting(key, value)
	}
	l.gateway.run("ip", "addr", "add", lanIP+"/16", "dev", "eth1")
	l.gateway.run("ip", "addr", "add", wanIP+"/24", "dev", "eth0")
	l.gateway.run("ip", "route", "add", "default", "via", routerIP)
	l.gateway.run("nft", kernelRules)
}

// deafen has the far ends' kernels answer ARP and nothing else: the oracle is
// who speaks there.
func (l *lab) deafen() {
	l.t.Helper()
	for _, end := range []*namespace{l.client, l.server} {
		end.run("nft", "table netdev deaf { chain in { type filter hook ingress device eth0 priority 10; meta protocol ip drop; }; }")
	}
}

// tap is a packet socket at eth0, for another process.
func (n *namespace) tap() *os.File {
	n.t.Helper()
	var fd int
	check(n.t, n.do(func() (err error) {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		const all = uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8 // network order
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		for _, option := range [][3]int{{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1}, {unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8 << 20}} {
			if err = unix.SetsockoptInt(fd, option[0], option[1], option[2]); err != nil {
				return err
			}
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: eth0.Index})
	}))
	return os.NewFile(uintptr(fd), "tap")
}

// question is what an oracle is asked.
type question struct {
	Number int    `json:"number"` // of those that run at once
	Ports  int    `json:"ports"`  // the first of the client's ports, which no question before had
	Seed   uint64 `json:"seed"`
	Draws  int    `json:"draws"` // random exchanges
}

// consult starts the oracle between the far ends; answer waits for what came
// out.
func (l *lab) consult(q question) (answer func() []exchange) {
	l.t.Helper()
	setup, err := json.Marshal(struct {
		question
		Client string `json:"client"`
		Router string `json:"router"`
		LAN    string `json:"lan"`
		WAN    string `json:"wan"`
	}{q, clientMAC, l.macOf(l.server), l.portMAC("eth1").String(), l.portMAC("eth0").String()})
	check(l.t, err)
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Minute+time.Duration(q.Draws)*time.Second)
	cmd := exec.CommandContext(patience, "/usr/bin/python3", "-B", "testdata/oracle.py")
	cmd.Stdin = bytes.NewReader(append(setup, '\n'))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.ExtraFiles = []*os.File{l.client.tap(), l.server.tap()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended := make(chan error, 1)
	go func() { ended <- onThread(cmd.Run) }()
	return func() (all []exchange) {
		l.t.Helper()
		err := <-ended
		cancel()
		for _, tap := range cmd.ExtraFiles {
			tap.Close()
		}
		if err != nil {
			l.t.Fatalf("the oracle: %v: %s", err, errs.String())
		}
		for line := range bytes.Lines(out.Bytes()) {
			var x exchange
			check(l.t, json.Unmarshal(line, &x))
			all = append(all, x)
		}
		return all
	}
}

// macOf is the hardware address of a far end.
func (l *lab) macOf(n *namespace) (mac string) {
	l.t.Helper()
	check(l.t, n.do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err == nil {
			mac = eth0.HardwareAddr.String()
		}
		return err
	}))
	return mac
}

// TestTheKernelDoesTheSame sends the same packets through gatewayd and through
// the kernel's own NAT, and compares what comes out at both ends: addresses,
// ports, hops, checksums, options, TOS, ids, DF, payloads, what ICMP errors
// quote, fragments, and what is dropped. What differs is in meant, with why.
func TestTheKernelDoesTheSame(t *testing.T) {
	t.Parallel()
	draws, random := tries(t, 1000)
	seed := random.Uint64()
	newGatewayLab := func() *lab {
		l := newLab(t, "limits: {flows_per_client: 60000, ports_per_client: 20000}")
		l.offloads(false)
		l.gateway.run("ip", "link", "set", "eth0", "mtu", fmt.Sprint(wanMTU))
		l.server.run("ip", "link", "set", "eth0", "mtu", fmt.Sprint(wanMTU))
		return l
	}
	ours, kernels := newGatewayLab(), newGatewayLab()
	d := ours.start()
	d.admit(anHour)
	ours.deafen()
	kernels.kernelIsTheGateway()
	kernels.deafen()

	var wrong []string
	for attempt := range 3 { // a frame that came late on a busy machine is none of a gateway's doing
		q := question{Ports: 20000 + 5000*attempt, Seed: seed, Draws: draws}
		byOurs := ours.consult(q)
		q.Number = 1
		byKernel := kernels.consult(q)
		got, want := byOurs(), byKernel()
		if len(got) != len(want) || len(got) <= draws {
			t.Fatalf("%d cases by gatewayd, %d by the kernel", len(got), len(want))
		}
		packets := 0
		wrong = nil
		for i := range got {
			g, w := got[i].words(), want[i].words()
			packets += strings.Count(g, "\n   the ")
			if said := judge(got[i].Name, g, w); said != "" {
				wrong = append(wrong, got[i].Name+": "+said)
			}
		}
		t.Logf("%d cases, %d packets compared, %d differences meant, %d not; dropped %v", len(got), packets, len(meant), len(wrong), d.status().Drops)
		if len(wrong) == 0 {
			break
		}
	}
	for _, said := range wrong {
		t.Error(said)
	}
	if rules := kernels.gateway.run("nft", "list", "table", "ip", "nat"); strings.Contains(rules, "packets 0 ") {
		t.Errorf("the kernel masqueraded nothing: %s", rules)
	}
}

// judge says what is wrong with what gatewayd did in a case; nothing if it is
// what the kernel did, or differs as is meant.
func judge(name, gatewayd, kernel string) string {
	both := "gatewayd:\n" + gatewayd + "kernel:\n" + kernel
	difference, expected := meant[name]
	switch {
	case strings.Contains(gatewayd, "a packet cut short") || strings.Contains(gatewayd, "over the MTU"):
		return "no packet of the link's: " + both
	case expected && gatewayd == kernel:
		return "no difference any more, where was meant: " + difference.why
	case expected && !regexp.MustCompile(difference.ours).MatchString(gatewayd):
		return "not what is meant, " + difference.why + ": " + both
	case !expected && gatewayd != kernel:
		return both
	}
	return ""
}

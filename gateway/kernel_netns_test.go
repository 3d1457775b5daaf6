//go:build netns

package gateway_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// ways are what iperf3 is told so that TCP goes up and down, as much as takes a
// moment, and datagrams those for small, for usual and for fragmented ones. Of
// these a busy machine's receiver may lose most: only the bill can be compared.
var (
	ways      = []string{"-n 20M", "-R -P4 -n 20M", "--set-mss 536 -n 5M"}
	datagrams = []string{"-u -b20M -l 60 -n 300K", "-u -b50M -l 1400 -R -n 2M", "-u -b50M -l 8000 -n 2M"}
)

// rings is how many rings the forwarder has, to receive from and to send by.
func (d *daemon) rings() int {
	d.t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", d.process("forward")))
	check(d.t, err)
	return strings.Count(string(maps), "socket:[")
}

// cutsUDP says whether the kernel cuts UDP super-packets before the host link gives
// them to the forwarder.
func (l *lab) cutsUDP() bool {
	l.t.Helper()
	return !strings.Contains(l.gateway.run("ethtool", "-k", "gw-host"), "tx-udp-segmentation: on")
}

// joins says whether datagrams that follow each other closely leave as one: the
// device then counts less of them than the gateway does.
func (d *daemon) joins() bool {
	d.t.Helper()
	device := func() uint64 {
		var links []struct {
			Stats64 struct{ TX struct{ Packets uint64 } }
		}
		check(d.t, json.Unmarshal([]byte(d.l.gateway.run("ip", "-j", "-s", "link", "show", "dev", "eth0")), &links))
		return links[0].Stats64.TX.Packets
	}
	left, counted := device(), d.status().Ports["wan"].TxPackets
	d.l.client.run("trafgen", "-P", "1", "-n", "20000", "-o", "eth0", fmt.Sprintf("{ eth(sa="+clientMAC+", da=%s), ipv4(saddr="+clientIP+
		", daddr="+serverIP+", ttl=64, df), udp(sp=4000, dp=9), fill(0x41, 22) }", d.l.nextMAC()))
	d.l.settle() // what waits in a forwarder that is killed is lost
	return float64(device()-left) < 0.9*float64(d.status().Ports["wan"].TxPackets-counted)
}

// drops is how many ports have the ingress drop as a filter, which tc shows; what
// TCX attaches it does not.
func (l *lab) drops() (n int) {
	l.t.Helper()
	for _, port := range []string{"eth0", "eth1"} {
		n += strings.Count(l.gateway.run("tc", "filter", "show", "dev", port, "ingress"), "gatewayd_drop direct-action")
	}
	return n
}

// The bill is what arrives without anything that an older kernel, or a poorer port,
// does not have, and also after a death.
func TestWithoutWhatTheKernelMayLack(t *testing.T) { inBothModes(t, withoutWhatTheKernelMayLack) }

func withoutWhatTheKernelMayLack(t *testing.T, newLab makeLab) {
	const all = "tcx, ring, transmit_ring, joining, tap_udp, landlock"
	everywhere := func(l *lab) { l.offloads(false) }
	atThePorts := func(l *lab) {
		l.gateway.offload("eth0", false)
		l.gateway.offload("eth1", false)
	}
	for _, row := range []struct {
		name, without  string
		change         func(l *lab)
		filters, rings int
		cuts           bool
	}{
		{"with all there is", "", nil, 0, 4, false},
		{"tcx", "tcx", nil, 2, 4, false},
		{"ring", "ring", nil, 0, 2, false},
		{"transmit_ring", "transmit_ring", nil, 0, 2, false},
		{"joining", "joining", nil, 0, 4, false},
		{"tap_udp", "tap_udp", nil, 0, 4, true},
		{"landlock", "landlock", nil, 0, 4, false},
		{"all of them", all, nil, 2, 0, true},
		{"offloads at the ports", "", atThePorts, 0, 4, false},
		{"offloads at the ports, ring", "ring", atThePorts, 0, 2, false},
		{"all of them and offloads", all, everywhere, 2, 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "kernel: {without: ["+row.without+"]}")
			if row.change != nil {
				row.change(l)
			} else {
				l.joinsDatagrams(true)
			}
			d := l.start()
			if said := strings.Contains(d.out.String(), "kernel.without has landlock"); said != strings.Contains(row.without, "landlock") {
				t.Errorf("the log says that Landlock is done without: %v", said)
			}
			holds := func() {
				if filters, rings, cuts := l.drops(), d.rings(), l.cutsUDP(); filters != row.filters || rings != row.rings || cuts != row.cuts {
					t.Errorf("%d ports have a filter, want %d; %d a ring, want %d; UDP super-packets are cut: %v, want %v",
						filters, row.filters, rings, row.rings, cuts, row.cuts)
				}
			}
			holds()
			l.iperfServer()
			v := d.admit(anHour)
			up, down := l.settle()
			d.everyday(v, ways...)
			for _, way := range datagrams {
				l.iperf(strings.Fields(way)...)
			}
			// A device without offloads counts what it has cut.
			if joins := d.joins(); row.change == nil && joins == strings.Contains(row.without, "joining") {
				t.Errorf("packets of a flow are joined: %v", joins)
			}
			d.replaced("forward", d.kill("forward"))
			holds()
			l.iperf(strings.Fields(ways[0])...)
			d.billed(v.ID, up, down)
			if s := d.status(); s.Ports["lan"].Refused+s.Ports["wan"].Refused != 0 {
				t.Errorf("the ports refused packets: %+v", s.Ports)
			}
			d.stop()
		})
	}
}

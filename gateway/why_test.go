package gateway

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/gateway/config"
	"gatewayd/sessions"
)

// A packet's way as it is told is the way that it goes.
func TestTheWalkIsThePath(t *testing.T) {
	for _, row := range []struct {
		mode  string
		walk  []stage
		steps func(port int) []string
	}{{config.ModeRoute, walk, forwarder.Steps}, {config.ModeBridge, bridgeWalk, forwarder.BridgeSteps}} {
		var told []string
		for _, st := range row.walk {
			for _, step := range st.path {
				if len(told) == 0 || told[len(told)-1] != step { // client and address share one
					told = append(told, step)
				}
			}
		}
		way := slices.Clone(row.steps(clients.LAN))
		for _, step := range row.steps(clients.WAN) {
			if !slices.Contains(way, step) {
				way = append(way, step)
			}
		}
		if !slices.Equal(told, way) {
			t.Errorf("mode %s: the walk is %v, the packet path %v", row.mode, told, way)
		}
	}
}

// What is said in bridge mode speaks of no address and no router that the box does not have.
func TestVerdictsOfABridge(t *testing.T) {
	const name = "device 3 (02:00:00:00:00:0c, 10.10.0.2) "
	for _, row := range []struct {
		name, step, verdict, do string
		change                  func(*scene)
	}{
		{"all is well", "", name + "is online", "", func(*scene) {}},
		{"a MAC never seen", "client", "MAC 02:00:00:00:00:77 is NOT online: no packet of this MAC has come", "is it on this network?", unknown("02:00:00:00:00:77", "", "02:00:00:00:00:77")},
		{"an address of elsewhere that is not its own", "address", name + "is NOT online: it sends from 198.51.100.7, which is not its own", "use 10.10.0.2", func(sc *scene) {
			sc.Foreign, sc.Sent = "198.51.100.7", aMoment.Add(-time.Minute)
			loses(forwarder.Spoofed)(sc)
		}},
		{"an address before it has one", "address", "device 3 (02:00:00:00:00:0c) is NOT online: it sends from 198.51.100.7, which is not its own: none is", "wait a second", func(sc *scene) {
			sc.Device.IP, sc.Address, sc.Foreign, sc.Sent = "", "", "198.51.100.7", aMoment.Add(-time.Minute)
			loses(forwarder.Spoofed)(sc)
		}},
		{"frames for its neighbours", "local", name + "is online, but held back: it speaks with its neighbours", "a switch", loses(forwarder.LANDestination)},
		{"the WAN cable is out", "route", name + "is NOT online: the WAN port eth0 has no link", "ip link show eth0", func(sc *scene) { sc.wan.Up = false }},
		{"nothing comes back", "return", name + "is online, but held back: 10 packets have gone out and none has come back", "behind the WAN port", func(sc *scene) { sc.Passing.Use.DownPackets = 0 }},
	} {
		sc := sceneOf(func(sc *scene) {
			sc.cfg.Mode = config.ModeBridge
			sc.cfg.WAN.Addresses.List, sc.cfg.WAN.Gateway, sc.own, sc.router = nil, netip.Addr{}, nil, netip.Addr{}
			row.change(sc)
		})
		w := sc.tell()
		if !strings.HasPrefix(w.Verdict, row.verdict) || !strings.Contains(w.Do, row.do) {
			t.Errorf("%s: %q, do %q", row.name, w.Verdict, w.Do)
		}
		for _, st := range w.Steps {
			if decides := st.State == api.WhyStops || st.State == api.WhyHolds; decides && row.step != st.Step && st.Step != "send" {
				t.Errorf("%s: step %s %s: %s", row.name, st.Step, st.State, st.Seen)
			}
			for _, word := range []string{"10.10.0.1", "203.0.113", "invalid", "conversations"} {
				if strings.Contains(st.Seen+st.Do, word) {
					t.Errorf("%s: step %s says %q, do %q", row.name, st.Step, st.Seen, st.Do)
				}
			}
		}
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	names := forwarder.Reasons()
	for r, name := range names {
		if r == int(forwarder.Kept) || r == int(forwarder.Taken) {
			continue
		}
		if r >= len(endings) || endings[r].words == "" {
			t.Errorf("nobody is told what %s means: say so in endings", name)
			continue
		}
		if !slices.ContainsFunc(walk, func(st stage) bool { return st.name == endings[r].stage }) {
			t.Errorf("%s is said to happen at %q, which is no stage of the walk", name, endings[r].stage)
		}
	}
	if len(endings) > len(names) {
		t.Errorf("%d reasons have words, there are %d", len(endings), len(names))
	}
}

// What is said where the WAN's address comes by DHCP speaks of what came, and of nothing that
// the config has not.
func TestVerdictsOverALease(t *testing.T) {
	const name = "device 3 (02:00:00:00:00:0c, 10.10.0.2) "
	for _, row := range []struct {
		name, step, verdict, do string
		change                  func(*scene)
	}{
		{"all is well", "", name + "is online", "", func(*scene) {}},
		{"the next router is silent", "route", name + "is NOT online: the next router 192.0.2.1, which came by DHCP, does not answer ARP on eth0", "the network behind it", func(sc *scene) { sc.resolved = false }},
		{"no address", "route", name + "is NOT online: no server answers", "ask it", func(sc *scene) {
			sc.own, sc.router, sc.resolved, sc.trouble = nil, netip.Addr{}, false, advice{"no server answers", "ask it"}
		}},
		{"no router", "route", name + "is NOT online: nothing goes beyond 192.0.2.0/24", "have it name one", func(sc *scene) {
			sc.router, sc.trouble = netip.Addr{}, advice{"nothing goes beyond 192.0.2.0/24", "have it name one"}
		}},
		{"not renewed", "", name + "is online", "", func(sc *scene) { sc.trouble = advice{"it is not renewed", "ask it"} }},
		{"no port is free", "nat", name + "is online, but held back: all ports of the WAN address are in use", "gatewayd status", loses(forwarder.NoPort)},
		{"nothing comes back", "return", name + "is online, but held back: 10 packets have gone out and none has come back", "the next router 192.0.2.1 know the way back to 192.0.2.50/24", func(sc *scene) { sc.Passing.Use.DownPackets = 0 }},
	} {
		w := sceneOf(func(sc *scene) {
			sc.cfg.WAN.Addresses, sc.cfg.WAN.Gateway = config.Addresses{DHCP: true}, netip.Addr{}
			sc.own, sc.router = []netip.Prefix{netip.MustParsePrefix("192.0.2.50/24")}, netip.MustParseAddr("192.0.2.1")
			row.change(sc)
		}).tell()
		if !strings.HasPrefix(w.Verdict, row.verdict) || !strings.Contains(w.Do, row.do) {
			t.Errorf("%s: %q, do %q", row.name, w.Verdict, w.Do)
		}
		for _, st := range w.Steps {
			if decides := st.State == api.WhyStops || st.State == api.WhyHolds; decides && row.step != st.Step {
				t.Errorf("%s: step %s %s: %s", row.name, st.Step, st.State, st.Seen)
			}
			if st.Step == "route" && row.step != "route" && st.Seen != "WAN port eth0 is up and the next router 192.0.2.1 answers ARP" {
				t.Errorf("%s: %s", row.name, st.Seen)
			}
			for _, word := range []string{"invalid", "wan.gateway", "203.0.113"} {
				if strings.Contains(st.Seen+st.Do, word) {
					t.Errorf("%s: step %s says %q, do %q", row.name, st.Step, st.Seen, st.Do)
				}
			}
		}
	}
}

var aMoment = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// sceneOf is of a device that is online, as change makes it.
func sceneOf(change func(*scene)) *scene {
	cfg := config.Default()
	cfg.LAN.Interface, cfg.WAN.Interface = "eth1", "eth0"
	cfg.WAN.Addresses.List, cfg.WAN.Gateway = []netip.Prefix{netip.MustParsePrefix("203.0.113.2/24")}, netip.MustParseAddr("203.0.113.1")
	started := aMoment.Add(-time.Minute)
	s := sessions.Session{ID: 7, DeviceID: 3, Type: sessions.TypeTime, State: sessions.Running, TimeSecs: 3600, RemainingTime: 3540, StartedAt: &started}
	sc := &scene{
		Standing: sessions.Standing{
			Now: aMoment, MAC: "02:00:00:00:00:0c", Device: &sessions.Device{ID: 3, MAC: "02:00:00:00:00:0c", IP: "10.10.0.2", LastSeen: started},
			Slot: 5, Address: "10.10.0.2", Sent: aMoment.Add(-time.Second), Came: aMoment.Add(-time.Second), Acked: true,
			Losses: make([]sessions.Lost, clients.MaxReasons),
			Passing: &sessions.Passing{Session: s, Sequence: 1, Down: 625_000, Up: 375_000, Started: started,
				Use: clients.Use{Started: 1, UpPackets: 10, DownPackets: 20}},
			Next: &s,
		},
		asked: "3", cfg: &cfg, lan: api.Port{Name: "eth1", Up: true}, wan: api.Port{Name: "eth0", Up: true},
		forwards: true, resolved: true, flows: 12, own: cfg.WAN.Addresses.List, router: cfg.WAN.Gateway,
	}
	if change != nil {
		change(sc)
	}
	return sc
}

// offline takes the session of a scene away.
func offline(next, last *sessions.Session) func(*scene) {
	return func(sc *scene) { sc.Passing, sc.Next, sc.Last = nil, next, last }
}

// loses has the device lose packets for a reason, the last of them 3 s ago.
func loses(r forwarder.Reason) func(*scene) {
	return func(sc *scene) { sc.Losses[r] = sessions.Lost{Packets: 9, Last: aMoment.Add(-3 * time.Second)} }
}

func unknown(mac, ip, asked string) func(*scene) {
	return func(sc *scene) {
		sc.Standing, sc.asked = sessions.Standing{Now: aMoment, MAC: mac, IP: ip}, asked
	}
}

func TestVerdicts(t *testing.T) {
	begun, over := aMoment.Add(-time.Hour), aMoment.Add(-time.Minute)
	fresh := &sessions.Session{ID: 8, Type: sessions.TypeTimeOrData, State: sessions.Available, TimeSecs: 60, DataMB: 100, RemainingTime: 60, RemainingData: 100}
	paused := &sessions.Session{ID: 8, Type: sessions.TypeTime, State: sessions.Available, TimeSecs: 60, RemainingTime: 48, StartedAt: &begun}
	noData := &sessions.Session{ID: 8, Type: sessions.TypeTimeOrData, State: sessions.Consumed, TimeSecs: 60, DataMB: 100, RemainingTime: 5, StartedAt: &begun}
	noTime := &sessions.Session{ID: 8, Type: sessions.TypeTime, State: sessions.Consumed, TimeSecs: 60, StartedAt: &begun}
	expired := &sessions.Session{ID: 8, Type: sessions.TypeTime, State: sessions.Expired, TimeSecs: 60, RemainingTime: 48, StartedAt: &begun, ExpiresAt: &over}
	moved := func(foreign string, r forwarder.Reason) func(*scene) {
		return func(sc *scene) {
			sc.Foreign, sc.Sent = foreign, aMoment.Add(-time.Minute)
			loses(r)(sc)
		}
	}
	const offlineAs = "device 3 (02:00:00:00:00:0c, 10.10.0.2) is NOT online: "
	const heldAs = "device 3 (02:00:00:00:00:0c, 10.10.0.2) is online, but held back: "
	for _, row := range []struct {
		name    string
		change  func(*scene)
		step    string // that decides; empty: none
		verdict string // its beginning
		do      string // a part of it
	}{
		{"all is well", nil, "", "device 3 (02:00:00:00:00:0c, 10.10.0.2) is online", ""},
		{"it may pass and says nothing", func(sc *scene) { sc.Sent = aMoment.Add(-5 * time.Minute) }, "", "device 3 (02:00:00:00:00:0c, 10.10.0.2) is online, but silent: its last packet came 5 minutes ago", "the client itself"},
		{"the forwarder is away", func(sc *scene) { sc.forwards = false }, "link", offlineAs + "the forwarder does not run", "gatewayd status"},
		{"the LAN cable is out", func(sc *scene) { sc.lan.Up = false }, "link", offlineAs + "the LAN port eth1 has no link", "ip link show eth1"},
		{"it floods the port", loses(forwarder.OverShare), "link", heldAs + "it sends more than its share", ""},
		{"a MAC never seen", unknown("02:00:00:00:00:77", "", "02:00:00:00:00:77"), "client", "MAC 02:00:00:00:00:77 is NOT online: no packet of this MAC has come", "10.10.0.0/16"},
		{"an address never seen", unknown("", "10.10.9.9", "10.10.9.9"), "client", "address 10.10.9.9 is NOT online: no packet from this address has come", "gatewayd devices list"},
		{"an id never given", unknown("", "", "99"), "client", "device 99 is NOT online: no device has this id", "gatewayd devices list"},
		{"no room for a newcomer", func(sc *scene) { unknown("02:00:00:00:00:77", "", "x")(sc); sc.Full = true }, "client", "MAC 02:00:00:00:00:77 is NOT online: it is not known, and the client table is full", "limits.clients"},
		{"a device that is away", func(sc *scene) { offline(paused, nil)(sc); sc.Slot, sc.Address, sc.Losses = 0, "", nil }, "client", offlineAs + "it is known, but not here: it was last seen 1 minute ago", "on the client"},
		{"a known device for which there is no room", func(sc *scene) {
			offline(paused, nil)(sc)
			sc.Slot, sc.Address, sc.Losses, sc.Full = 0, "", nil, true
		}, "client", offlineAs + "it is known, but the client table is full and has no place for it; it was last seen 1 minute ago", "limits.clients"},
		{"a device that is served while there is no room for others", func(sc *scene) { sc.Full = true }, "", "device 3 (02:00:00:00:00:0c, 10.10.0.2) is online", ""},
		{"an address that another one holds", func(sc *scene) { sc.Address, sc.Refused, sc.Holder = "", "10.10.0.9", "02:00:00:00:00:0d" }, "address",
			offlineAs + "it asked for 10.10.0.9, which 02:00:00:00:00:0d holds", "gatewayd devices show 02:00:00:00:00:0d"},
		{"it left its address for another one's", func(sc *scene) {
			moved("10.10.0.9", forwarder.Spoofed)(sc)
			sc.Refused, sc.Holder = "10.10.0.9", "02:00:00:00:00:0d"
		}, "address",
			offlineAs + "it asked for 10.10.0.9, which 02:00:00:00:00:0d holds", "give the client another address"},
		{"its holder is being asked", func(sc *scene) { sc.Address, sc.Contested = "", "10.10.0.9" }, "address", offlineAs + "it asks for 10.10.0.9, whose holder is being asked", "wait"},
		{"no address yet", func(sc *scene) { sc.Address = "" }, "address", offlineAs + "no address is bound to it", "gatewayd devices add --mac 02:00:00:00:00:0c"},
		{"an address of another network", moved("192.168.1.5", forwarder.BadSource), "address", offlineAs + "it sends from 192.168.1.5, which is no client's address in 10.10.0.0/16", "10.10.0.1"},
		{"an address not its own yet", moved("10.10.0.9", forwarder.Spoofed), "address", offlineAs + "it sends from 10.10.0.9, which is not its own: 10.10.0.2 is", ""},
		{"somebody has a copy of its MAC", func(sc *scene) { moved("10.10.0.9", forwarder.Spoofed)(sc); sc.Sent = aMoment }, "address", heldAs + "10.10.0.2 is bound to it, but packets with its MAC come from 10.10.0.9 too", "02:00:00:00:00:0c"},
		{"its address is its own by now", func(sc *scene) { moved("10.10.0.2", forwarder.Spoofed)(sc); sc.Sent = aMoment }, "", "device 3 (02:00:00:00:00:0c, 10.10.0.2) is online", ""},
		{"it takes the gateway for a switch", loses(forwarder.LANDestination), "local", heldAs + "it sends packets for its neighbours to the gateway", "10.10.0.0/16"},
		{"admission is stopped", func(sc *scene) { sc.stopped = true }, "admit", offlineAs + "admission of all clients is stopped", "gatewayd status"},
		{"the forwarder has not heard", func(sc *scene) { sc.Acked = false }, "admit", offlineAs + "session 7 may pass, but the forwarder has not acknowledged it", "gatewayd status"},
		{"nothing was bought", offline(nil, nil), "admit", offlineAs + "it has bought no session", "gatewayd sessions create --device 3"},
		{"never connected", offline(fresh, nil), "admit", offlineAs + "it has session 8 (1m0s or 100 MB) and was never connected with it", "gatewayd connect 3"},
		{"disconnected", offline(paused, noTime), "admit", offlineAs + "it is disconnected; session 8 has 48s left", "gatewayd connect 3"},
		{"the data is used up", offline(nil, noData), "admit", offlineAs + "session 8 is used up: its 100 MB have passed", "gatewayd sessions create --device 3"},
		{"the time is used up", offline(nil, noTime), "admit", offlineAs + "session 8 is used up: its 1m0s are over", "gatewayd sessions create --device 3"},
		{"expired", offline(nil, expired), "admit", offlineAs + "session 8 has expired with 48s left", "gatewayd sessions create --device 3"},
		{"paused", func(sc *scene) {
			held := *paused
			held.State, held.PauseReason = sessions.Paused, "asked"
			offline(paused, nil)(sc)
			sc.Device.Session = &held
		}, "admit", offlineAs + "its session 8 is paused (asked), with 48s left", "gatewayd resume 3"},
		{"a provider is silent", func(sc *scene) {
			offline(nil, noTime)(sc)
			sc.Amiss = []string{"provider shop: it does not answer in time"}
		}, "admit",
			offlineAs + "nothing that it bought is known to be left, and provider shop: it does not answer in time", "gatewayd status"},
		{"paused as it was idle", func(sc *scene) {
			held := *paused
			held.State, held.PauseReason = sessions.Paused, "idle"
			offline(paused, nil)(sc)
			sc.Device.Session = &held
		}, "admit", offlineAs + "its session 8 is paused (idle), with 48s left: it goes on with the client's next packet", ""},
		{"paused as the WAN is away", func(sc *scene) {
			held := *paused
			held.State, held.PauseReason = sessions.Paused, "no_carrier"
			offline(paused, nil)(sc)
			sc.Device.Session = &held
		}, "admit", offlineAs + "its session 8 is paused (no_carrier), with 48s left: it goes on by itself when the WAN is back", "gatewayd status"},
		{"paused, and the WAN is away", func(sc *scene) {
			held := *paused
			held.State, held.PauseReason = sessions.Paused, "silent_gateway"
			offline(paused, nil)(sc)
			sc.Device.Session, sc.resolved = &held, false
		}, "route", offlineAs + "the next router", "wan.gateway"},
		{"it waits for the store", func(sc *scene) { offline(paused, nil)(sc); sc.Waits = "the store: so it is" }, "admit", offlineAs + "it waits for the store", ""},
		{"nobody knows what it bought", func(sc *scene) { offline(nil, nil)(sc); sc.Unknown = errors.New("the store is away") }, "admit", offlineAs + "what it bought is not known: the store is away", "gatewayd status"},
		{"the WAN cable is out", func(sc *scene) { sc.wan.Up, sc.resolved = false, false }, "route", offlineAs + "the WAN port eth0 has no link", "ip link show eth0"},
		{"the next router is silent", func(sc *scene) { sc.resolved = false }, "route", offlineAs + "the next router 203.0.113.1 does not answer ARP on eth0", "wan.gateway"},
		{"its own rate", func(sc *scene) {
			sc.Waited[sessions.WaitedDown] = aMoment.Add(-time.Second)
			sc.speed[sessions.WaitedDown] = 600_000
			loses(forwarder.OverRate)(sc)
			loses(forwarder.QueueDelay)(sc)
		}, "limit", heldAs + "its plan's speed holds it on the way down: 5 Mbit/s down and 3 Mbit/s up, its session's own; right now 4.8 Mbit/s down, 0 Mbit/s up; " +
			"18 packets over it dropped in all, the last 3 seconds ago", "gatewayd sessions set 7"},
		{"the global rate", func(sc *scene) { sc.Waited[sessions.WaitedUp], sc.global = aMoment, true }, "limit", heldAs + "its plan's speed holds it on the way up: 5 Mbit/s down and 3 Mbit/s up, the global speed", "bandwidth.global"},
		{"a rate that held it a minute ago", func(sc *scene) { sc.Waited[sessions.WaitedUp] = over }, "", "device 3 (02:00:00:00:00:0c, 10.10.0.2) is online", ""},
		{"too many conversations", loses(forwarder.ClientCap), "nat", heldAs + "it has as many conversations as limits.flows_per_client (4096)", "raise these limits"},
		{"the table is full", loses(forwarder.FlowsFull), "nat", heldAs + "the translation table is full (limits.nat_flows, 262144)", "gatewayd status"},
		{"no port is free", loses(forwarder.NoPort), "nat", heldAs + "all ports of 203.0.113.2 are in use", "gatewayd status"},
		{"the kernel takes nothing", loses(forwarder.TxRefused), "send", heldAs + "the port did not take it", "ip -s link show eth0"},
		{"nothing comes back", func(sc *scene) { sc.Passing.Use.DownPackets = 0 }, "return", heldAs + "10 packets have gone out and none has come back", "203.0.113.1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := sceneOf(row.change).tell()
			if !strings.HasPrefix(w.Verdict, row.verdict) || row.step == "" && w.Verdict != row.verdict {
				t.Errorf("verdict %q, want %q", w.Verdict, row.verdict)
			}
			if !strings.Contains(w.Do, row.do) || row.do == "" && row.step == "" && w.Do != "" {
				t.Errorf("do %q, want %q", w.Do, row.do)
			}
			if w.Online == strings.Contains(w.Verdict, "NOT") {
				t.Errorf("online %v, and %q", w.Online, w.Verdict)
			}
			var names []string
			decides := ""
			for _, st := range w.Steps {
				names = append(names, st.Step)
				if decides == "" && (st.State == api.WhyStops || st.State == api.WhyHolds && w.Online) {
					decides = st.Step
				}
			}
			if decides != row.step {
				t.Errorf("%q decides, want %q: %+v", decides, row.step, w.Steps)
			}
			if len(names) != len(walk) {
				t.Errorf("steps %v, want all %d", names, len(walk))
			}
		})
	}
}

func TestDropsStandAtTheirStage(t *testing.T) {
	w := sceneOf(func(sc *scene) {
		for r := range sc.Losses {
			loses(forwarder.Reason(r))(sc)
		}
	}).tell()
	said := 0
	for _, st := range w.Steps {
		for _, d := range st.Drops {
			said++
			r := slices.Index(forwarder.Reasons(), d.Reason)
			if r < 0 || endings[r].stage != st.Step || d.Packets != 9 || d.Words != endings[r].words {
				t.Errorf("%s says %+v", st.Step, d)
			}
		}
	}
	if want := len(forwarder.Reasons()) - 2; said != want {
		t.Errorf("%d reasons are said, want %d", said, want)
	}
}

//go:build netns

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// breach makes one claim false from outside while the demo runs.
type breach struct {
	claim int
	name  string
	steps []step
	wrong []string // how lines begin in which the claim must say what is wrong
}

// The client is made known before it has sent anything through the gateway.
var known = command("devices add --mac MAC --ip 10.10.0.2")

// A little data, and connected at once: used up by the first packets.
var aLittleMore = inTurn(
	command("sessions create --device 10.10.0.2 --type data --data 500B --down 50Mbit --up 50Mbit"),
	command("connect 10.10.0.2"))

// What nobody sold and nobody sent: three packets with the gateway's address.
var unbilled = inside("GATEWAY", "trafgen -n 3 -P 1 -o wan",
	"{ eth(da=ff:ff:ff:ff:ff:ff, sa=02:00:00:00:00:01), ipv4(sa=203.0.113.2, da=203.0.113.1, ttl=64), udp(sp=9, dp=9), fill(0, 90) }")

// A cable from the client to the internet that spares the gateway.
var bypass = inTurn(
	inside("CLIENT", "ip link add aside type veth peer name aside netns INTERNET"),
	inside("INTERNET", "ip address add 192.0.2.1/24 dev aside"),
	inside("INTERNET", "ip link set aside up"),
	inside("INTERNET", "ip route add 10.10.0.2 via 192.0.2.2 onlink dev aside"),
	inside("CLIENT", "ip address add 192.0.2.2/24 dev aside"),
	inside("CLIENT", "ip link set aside up"),
	inside("CLIENT", "ip route add 198.51.100.80 via 192.0.2.1"))

// What the internet's end does to packets, until all is well again.
var (
	oneOfAHundredLost = nft("input", "udp dport 7 numgen inc mod 100 == 0 drop")
	altered           = nft("output", "tcp sport 80 meta length > 1000 @th,2000,8 set 0") // byte 250
	allIsWell         = inside("INTERNET", "nft flush ruleset")
)

// alone is held for writing by a demo that has none beside it.
var alone sync.RWMutex

// undisturbed runs a demo until nothing is wrong with it, three times at most, from
// the second on without another: it measures rates and moments, which a busy machine
// spoils now and then.
func undisturbed(t *testing.T, run func() (wrong []string)) {
	t.Helper()
	beside := func() []string {
		alone.RLock()
		defer alone.RUnlock()
		return run()
	}
	byItself := func() []string {
		alone.Lock()
		defer alone.Unlock()
		return run()
	}
	wrong := beside()
	for tries := 1; len(wrong) > 0 && tries < 3; tries++ {
		t.Logf("try %d: %s", tries, strings.Join(wrong, "\n"))
		wrong = byItself()
	}
	if len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
}

// TestEveryClaimCanFail breaks claims of a running demo, several in each run,
// and asks for every verdict: the broken claims do not hold, for the reason
// that was given them, and the others hold all the same.
func TestEveryClaimCanFail(t *testing.T) {
	t.Parallel()
	for _, run := range []struct {
		name     string
		breaches []breach
	}{
		{"what is given is not what was sold", []breach{
			{1, "the client was connected beforehand",
				[]step{{1, "nobody is connected yet", inTurn(known, aLittleMore)}, {1, "back at the client", command("sessions delete 1")}},
				[]string{"at the internet's end arrived", "back at the client came"}},
			{3, "the plan has other speeds",
				[]step{{3, "measuring the download", command("sessions set RUNNING --down 100Mbit --up 5Mbit")}},
				[]string{"the download arrived at", "the upload arrived at"}},
			{5, "the first plan does not end",
				[]step{{5, "a stream of 1000", command("sessions set RUNNING --data 100MB")}},
				[]string{"the far ends counted 2,5", "the download arrived at", "the gateway says that the second session runs"}},
			{7, "the plan is two seconds longer",
				[]step{{7, "the client keeps sending", command("sessions set RUNNING --time 7s")}},
				[]string{"packets passed for 6."}},
			{8, "packets leave that nobody is billed for",
				[]step{{8, "a download and a stream", unbilled}},
				[]string{"billed are"}},
			{9, "the same packets", nil,
				[]string{"kill -9 of control "}},
		}},
		{"what arrives is not what was sent", []breach{
			{2, "the page is altered on its way, and no ping arrives",
				[]step{{1, "nobody is connected yet", inTurn(altered, nft("input", "icmp type echo-request drop"))}, {2, "answered are", allIsWell}},
				[]string{"the client got 262,144 bytes with the checksum", "answered are TCP true, UDP true, ping false"}},
			{4, "the plan has more data",
				[]step{{4, "downloading without end", command("sessions set RUNNING --data 12MB")}},
				[]string{"the far ends counted 11,99"}},
			{6, "the client is connected for a while in the pause",
				[]step{{6, "disconnected for two seconds", inTurn(command("connect 10.10.0.2"), pause(600*time.Millisecond), command("disconnect 10.10.0.2"))}},
				[]string{"while disconnected the client sent", "packets passed for"}},
			{8, "one of a hundred packets is lost, the download altered, and forwarding stands still for a while",
				[]step{{8, "a download and a stream",
					inTurn(altered, oneOfAHundredLost, send("forward", syscall.SIGSTOP), pause(800*time.Millisecond), send("forward", syscall.SIGCONT))}},
				[]string{"the download is whole", "its longest pause was", "of "}},
		}},
		{"somebody else has a hand in it", []breach{
			{1, "there is a way around the gateway",
				[]step{{1, "nobody is connected yet", inTurn(known, bypass)}},
				[]string{"the client sent 0 TCP", "back at the client came"}},
			{2, "the way around is still there",
				[]step{{2, "answered are", inside("CLIENT", "ip link delete aside")}},
				[]string{"the server was asked by [192.0.2.2]", "at the internet's end arrived 0 packets"}},
			{4, "the client is sold more when it is cut off",
				[]step{{4, "the far ends counted", aLittleMore}},
				[]string{"after that the client sent"}},
			{5, "one of a hundred packets is lost",
				[]step{{5, "a stream of 1000", oneOfAHundredLost}, {5, "measuring the download", allIsWell}},
				[]string{"of "}},
			{7, "somebody disconnects the client",
				[]step{{7, "the client keeps sending", inTurn(pause(time.Second), command("disconnect 10.10.0.2"))}},
				[]string{"packets passed for 1."}},
			{8, "forward is killed too",
				[]step{{8, "a download and a stream of 1000", send("forward", syscall.SIGKILL)}},
				[]string{"of "}},
			{9, "there is a session that the demo did not sell", nil,
				[]string{"cut off at the byte", "1 sessions were sold by somebody else"}},
		}},
	} {
		t.Run(run.name, func(t *testing.T) {
			t.Parallel()
			undisturbed(t, func() (wrong []string) {
				d := newDemonstration(t)
				for _, b := range run.breaches {
					d.steps = append(d.steps, b.steps...)
				}
				code := d.run()
				d.leftNothing()
				why := map[int]string{}
				var broken []string
				for _, b := range run.breaches {
					why[b.claim] = b.name
					c := d.claims[b.claim]
					broken = append(broken, fmt.Sprintf("%d (%s)", b.claim, c.title))
					for _, begins := range b.wrong {
						if !slices.ContainsFunc(c.wrong, func(line string) bool { return strings.HasPrefix(line, begins) }) {
							wrong = append(wrong, fmt.Sprintf("%s: claim %d finds nothing wrong that begins with %q", b.name, b.claim, begins))
						}
					}
				}
				for number, c := range d.claims {
					switch {
					case number == 0:
					case why[number] != "" && c.verdict != "DOES NOT HOLD":
						wrong = append(wrong, fmt.Sprintf("%s: the verdict of claim %d is %q", why[number], number, c.verdict))
					case why[number] == "" && c.verdict != "holds":
						wrong = append(wrong, fmt.Sprintf("nobody broke claim %d: its verdict is %q: %q", number, c.verdict, c.wrong))
					}
				}
				end := fmt.Sprintf("%d of 9 claims did not hold: %s\n", len(broken), strings.Join(broken, ", "))
				if code != exitRefused || !strings.HasSuffix(d.errs.String(), end) {
					wrong = append(wrong, fmt.Sprintf("exit %d, want %d and %q", code, exitRefused, end))
				}
				return wrong
			})
		})
	}
}

// TestTheDemoNeedsNoKernelFirewall runs it undisturbed where the kernel refuses
// nf_tables and iptables to it and to all that it starts.
func TestTheDemoNeedsNoKernelFirewall(t *testing.T) {
	t.Parallel()
	undisturbed(t, func() (wrong []string) {
		d := newDemonstration(t)
		d.confined = true
		code := d.run()
		d.leftNothing()
		for number, c := range d.claims[1:] {
			if c.verdict != "holds" {
				wrong = append(wrong, fmt.Sprintf("the verdict of claim %d is %q: %q", number+1, c.verdict, c.wrong))
			}
		}
		if code != exitDone || !strings.HasPrefix(d.last, "All 9 claims hold") {
			wrong = append(wrong, fmt.Sprintf("exit %d and %q, want %d and that all claims hold", code, d.last, exitDone))
		}
		return wrong
	})
}

// TestAnInterruptedDemoLeavesNothing interrupts it as an impatient person at a
// terminal does, and as a service manager.
func TestAnInterruptedDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, moment := range []struct {
		name  string
		claim int
		at    string
		first act
	}{
		{"while it makes its network", 0, "gatewayd demo:", pause(0)},
		{"before anybody is connected", 1, "nobody is connected yet", pause(0)},
		{"in a download while control is dead", 3, "measuring the download", send("control", syscall.SIGKILL)},
	} {
		for _, sent := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(sent.String()+" "+moment.name, func(t *testing.T) {
				t.Parallel()
				d := newDemonstration(t, step{moment.claim, moment.at, inTurn(moment.first, interrupt(sent), interrupt(sent))})
				code := d.run()
				d.leftNothing()
				if code != exitRefused || !strings.Contains(d.errs.String(), "interrupted: nothing is proved") {
					t.Errorf("exit %d, want %d and that nothing is proved", code, exitRefused)
				}
				if d.current != moment.claim {
					t.Errorf("it went on to claim %d", d.current)
				}
			})
		}
	}
}

// TestAKilledDemo: it cannot clean up. Its gateway ends by itself all the same,
// and the next demo removes the rest.
func TestAKilledDemo(t *testing.T) {
	t.Parallel()
	killed := newDemonstration(t, step{1, "nobody is connected yet", interrupt(syscall.SIGKILL)})
	killed.run()
	for end := time.Now().Add(time.Minute); len(killed.processes()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("processes outlive a killed demo: %v", killed.processes())
		}
	}
	left, _ := filepath.Glob(killed.temp + "/*")
	for _, dir := range left { // a young one may be one that is being made
		check(t, os.Chtimes(dir, time.Time{}, time.Now().Add(-2*time.Minute)))
	}
	next := newDemonstration(t, step{0, "look in:", interrupt(syscall.SIGTERM)})
	next.temp = killed.temp
	next.run()
	next.leftNothing()
	killed.leftNothing()
}

// interrupt sends a signal to the demo's process group, as a terminal does.
func interrupt(sent syscall.Signal) act {
	return func(d *demonstration) { check(d.t, syscall.Kill(-d.cmd.Process.Pid, sent)) }
}

//go:build netns

package forwarder

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
)

// The programs of the fan-out, as the kernel itself runs them. Each test makes a
// namespace of its own, which vanishes with its thread:
//
//	a socket that sends on gw-a ───── veth ───── gw-b: the workers' sockets, in a group

// group is a port that several workers share.
type group struct {
	t       *testing.T
	sender  int
	workers []*link.Packet
}

// newGroup makes one, by the program. order is in which the sockets are opened, by
// their place in it.
func newGroup(t *testing.T, program []bpf.Instruction, order []int, ringless bool) *group {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	g := &group{t: t, workers: make([]*link.Packet, len(order))}
	g.ip("link add gw-a type veth peer name gw-b")
	for _, name := range []string{"gw-a", "gw-b"} {
		g.ip("link set " + name + " up")
	}
	g.sender = g.socket("gw-a", 0)
	t.Cleanup(func() { unix.Close(g.sender) })
	for _, place := range order {
		fd := g.socket("gw-b", unix.ETH_P_ALL)
		deaf := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
		g.must(unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &deaf}))
		p, err := link.NewPacket(fd, ringless)
		g.must(err)
		t.Cleanup(func() { p.Close() })
		g.workers[place] = p
	}
	g.must(link.FanOut(g.workers, program))
	return g
}

func (g *group) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *group) ip(command string) {
	g.t.Helper()
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		g.t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

func (g *group) socket(name string, protocol uint16) int {
	g.t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	g.must(err)
	g.must(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	ifr, err := unix.NewIfreq(name)
	g.must(err)
	g.must(unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr))
	g.must(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bits.ReverseBytes16(protocol), Ifindex: int(ifr.Uint32())}))
	return fd
}

// parts sends frames until each of them has arrived, and fails if one comes to
// another worker than its own. A link that was set up a moment ago loses some.
func (g *group) parts(when string, frames [][]byte, own []int) {
	g.t.Helper()
	waits := map[string]int{} // frames, by the worker that they are to come to
	for i, raw := range frames {
		waits[string(raw[packet.VirtioLen:])] = own[i]
	}
	expected, began := maps.Clone(waits), time.Now()
	const atOnce = 50 // so many fit whatever a socket holds
	for len(waits) > 0 {
		if time.Since(began) > time.Minute {
			g.t.Fatalf("%s: %d of %d frames did not arrive, one of them %x", when, len(waits), len(expected), oneOf(waits))
		}
		sent := 0
		for raw := range waits {
			err := unix.Send(g.sender, append(make([]byte, packet.VirtioLen), raw...), 0)
			if err != nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) {
				g.t.Fatalf("%s: send %x: %v", when, raw, err)
			}
			if sent++; sent == atOnce {
				break
			}
		}
		for quiet := false; sent > 0 && !quiet; { // a frame that was sent before may arrive as well
			quiet = true
			for worker, raws := range g.arrived() {
				for _, raw := range raws {
					want, ours := expected[raw]
					if ours && want != worker {
						g.t.Fatalf("%s: worker %d of %d got what is worker %d's: %x", when, worker, len(g.workers), want, raw)
					}
					if _, ok := waits[raw]; ok {
						delete(waits, raw)
						sent--
					}
					quiet = false
				}
			}
		}
	}
}

func oneOf(all map[string]int) string {
	for raw := range all {
		return raw
	}
	return ""
}

// arrived is what each worker has got; it waits a moment for something.
func (g *group) arrived() [][]string {
	g.t.Helper()
	poll := make([]unix.PollFd, len(g.workers))
	for i, p := range g.workers {
		poll[i] = unix.PollFd{Fd: int32(p.FD()), Events: unix.POLLIN}
	}
	_, _ = unix.Poll(poll, 100)
	all := make([][]string, len(g.workers))
	for i, p := range g.workers {
		for {
			got, err := p.Receive()
			if got == nil || err != nil { // once after a port was down
				break
			}
			for _, raw := range got {
				all[i] = append(all[i], string(raw[packet.VirtioLen:]))
			}
		}
	}
	return all
}

// Of any frame each worker's socket gets what the workers say is its, also after
// the link was down, and its far end.
func TestTheKernelGivesEachFrameToItsWorker(t *testing.T) {
	ports := []struct {
		name    string
		port    int
		program func(clients.Spread) []bpf.Instruction
	}{
		{"LAN", clients.LAN, FanOutLAN},
		{"WAN", clients.WAN, func(s clients.Spread) []bpf.Instruction { return FanOutWAN(int(s.Workers)) }},
	}
	for _, n := range []int{2, 3, 5} {
		for _, row := range ports {
			t.Run(fmt.Sprintf("%d workers, %s", n, row.name), func(t *testing.T) {
				withWorkers(t, n)
				b := newBench(t)
				program := row.program(b.table.Spread())
				vm := wholeFrames(t, program)
				d := drawing{rand.New(rand.NewPCG(uint64(n), uint64(row.port)))}
				var frames [][]byte
				var own []int
				each := make([]int, n)
				for range 1500 {
					raw := d.frame()
					worker := ownerOf(t, b, row.port, vm, raw)
					frames, own = append(frames, raw), append(own, worker)
					each[worker]++
				}
				for worker, share := range each {
					if share < 50 {
						t.Errorf("only %d of %d frames are worker %d's", share, len(frames), worker)
					}
				}
				var inTurn []int
				for i := range n {
					inTurn = append(inTurn, i)
				}
				g := newGroup(t, program, inTurn, n == 3)
				g.parts("at first", frames, own)
				for _, end := range []string{"gw-b", "gw-a"} {
					g.ip("link set " + end + " down")
					g.ip("link set " + end + " up")
					g.parts("after "+end+" was down", frames[:200], own[:200])
				}
			})
		}
	}
}

// After a link was down the kernel has the sockets of a group stand in the order in
// which they were opened, whatever it was before.
func TestAGroupStandsAsItWasOpenedOnceItsLinkWasDown(t *testing.T) {
	const n = 4
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: linkLayer + 11, Size: 1}, bpf.RetA{}} // by the MAC's last octet
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}} {
		t.Run(fmt.Sprint("opened ", order), func(t *testing.T) {
			g := newGroup(t, program, order, false)
			var frames [][]byte
			var joined, opened []int
			for i := range 8 * n {
				w := flow{srcMAC: 0x020000000000 + uint64(i), dstMAC: lanMAC, src: aliceIP, dst: serverIP, ttl: 64}
				frames = append(frames, w.udp(20))
				joined, opened = append(joined, i%n), append(opened, order[i%n])
			}
			g.parts("at first", frames, joined)
			for range 3 {
				g.ip("link set gw-b down")
				g.ip("link set gw-b up")
				g.parts("after the link was down", frames, opened)
			}
		})
	}
}

//go:build netns

// These tests need root. Each makes its own network namespace, which has no name
// and vanishes with its thread, however the test ends:
//
//	Packet on gw-a ───── veth ───── Packet on gw-b        TAP gw-t ── Packet on gw-t
package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// enterNamespace locks the test to a thread in a namespace of its own.
func enterNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
}

func run(t testing.TB, command string) {
	t.Helper()
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// vethPair returns links on both ends of a veth pair whose kernel side is quiet.
func vethPair(t testing.TB) (a, b *Packet) {
	t.Helper()
	return vethPairOf(t, kind{})
}

// kind is what a link does without.
type kind struct {
	name         string
	ringless     bool // receives by system calls
	transmitless bool // sends by system calls
}

// receivedBothWays runs a test on links with a ring, and on some without.
func receivedBothWays(t *testing.T, test func(t *testing.T, a, b *Packet)) {
	t.Helper()
	for _, k := range []kind{{name: "from a ring"}, {name: "by system calls", ringless: true}} {
		t.Run(k.name, func(t *testing.T) {
			a, b := vethPairOf(t, k)
			test(t, a, b)
		})
	}
}

// sentBothWays runs a test on links with a transmit ring, and on some without.
func sentBothWays(t *testing.T, test func(t *testing.T, a, b *Packet)) {
	t.Helper()
	for _, k := range []kind{{name: "to a ring"}, {name: "by system calls", transmitless: true}} {
		t.Run(k.name, func(t *testing.T) {
			a, b := vethPairOf(t, k)
			test(t, a, b)
		})
	}
}

func vethPairOf(t testing.TB, k kind) (a, b *Packet) {
	t.Helper()
	enterNamespace(t)
	run(t, "ip link add gw-a type veth peer name gw-b")
	for _, name := range []string{"gw-a", "gw-b"} {
		run(t, "sysctl -qw net.ipv6.conf."+name+".disable_ipv6=1")
		run(t, "ip link set "+name+" up")
	}
	a, b = openPacket(t, "gw-a", k), openPacket(t, "gw-b", k)
	settle(t, a, b)
	return a, b
}

// settle waits until frames get through both ways: for a moment after a link is
// set up, its queue takes frames and loses them.
func settle(t testing.TB, a, b Link) {
	t.Helper()
	probe, taken := ethernet(numbered(1, 100)), make([]bool, 1)
	for _, way := range [][2]Link{{a, b}, {b, a}} {
		for tries := 0; !readable(way[1].FD()); tries++ {
			if err := way[0].Send(probe, taken); err != nil || tries == 50 {
				t.Fatalf("no frame gets through: %v", err)
			}
			await(way[1].FD())
		}
		for { // a probe may still be on its way
			if got, err := way[1].Receive(); err != nil {
				t.Fatal(err)
			} else if got == nil {
				break
			}
			await(way[1].FD())
		}
	}
}

func openPacket(t testing.TB, name string, k kind) *Packet {
	t.Helper()
	fd := packetSocket(t, name, unix.PACKET_VNET_HDR)
	p, err := NewPacket(fd, k.ringless)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if p.Ringless() != k.ringless {
		t.Fatalf("ringless: %v", p.Ringless())
	}
	if !k.transmitless {
		if err := p.SendBy(packetSocketOf(t, name, 0, unix.PACKET_VNET_HDR)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// packetSocket opens a socket with the given SOL_PACKET options set to 1.
func packetSocket(t testing.TB, name string, options ...int) int {
	t.Helper()
	return packetSocketOf(t, name, unix.ETH_P_ALL, options...)
}

// packetSocketOf opens one that receives a protocol only, or with 0 none.
func packetSocketOf(t testing.TB, name string, protocol uint16, options ...int) int {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	check(err)
	for _, o := range append(options, unix.PACKET_IGNORE_OUTGOING) {
		check(unix.SetsockoptInt(fd, unix.SOL_PACKET, o, 1))
	}
	check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20))
	ifr, err := unix.NewIfreq(name)
	check(err)
	check(unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr))
	check(unix.Bind(fd, &unix.SockaddrLinklayer{
		Protocol: bits.ReverseBytes16(protocol), Ifindex: int(ifr.Uint32())}))
	return fd
}

// openTAP makes a TAP device and a link of it.
func openTAP(t testing.TB, flags uint16) (*TAP, error) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ifr, _ := unix.NewIfreq("gw-t")
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatal(err)
	}
	k, err := NewTAP(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	t.Cleanup(func() { k.Close() })
	return k, nil
}

// ethernet turns frames into broadcast ones of an EtherType nobody serves.
func ethernet(frames [][]byte) [][]byte {
	for _, f := range frames {
		copy(f[HeaderLen:], "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5")
	}
	return frames
}

// receive receives n frames, for which it waits, and copies them. More than n,
// or less within two seconds, end the test.
func receive(t testing.TB, l Link, n int) (all [][]byte) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Second); len(all) < n; {
		await(l.FD())
		got, err := l.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got {
			all = append(all, bytes.Clone(f))
		}
		if len(all) < n && time.Now().After(deadline) {
			break
		}
	}
	if len(all) != n {
		t.Fatalf("received %d frames, want %d", len(all), n)
	}
	return all
}

// await returns once fd is readable, or after a while.
func await(fd int) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, _ = unix.Poll(poll, 100)
}

func sendAll(t testing.TB, l Link, frames [][]byte) []bool {
	t.Helper()
	taken := make([]bool, len(frames))
	for i := range taken {
		taken[i] = i%2 == 0 // Send must overwrite what is there
	}
	if err := l.Send(frames, taken); err != nil {
		t.Fatal(err)
	}
	return taken
}

// wantFrames expects these frames and no others to arrive.
func wantFrames(t testing.TB, l Link, want [][]byte) {
	t.Helper()
	got := receive(t, l, len(want))
	for i := range want {
		if !bytes.Equal(got[i][HeaderLen:], want[i][HeaderLen:]) {
			t.Fatalf("frame %d is % x, want % x", i, got[i][:60], want[i][:60])
		}
	}
	if more, err := l.Receive(); more != nil || err != nil {
		t.Fatalf("%d frames more, %v", len(more), err)
	}
}

func TestPacketDeliversInOrder(t *testing.T) {
	inOrder := func(t *testing.T, a, b *Packet) {
		for _, n := range []int{1, Batch, Batch + 1, 200, 2 * transmitSlots} {
			sent := ethernet(numbered(n, 100))
			if taken := sendAll(t, a, sent); count(taken) != n {
				t.Errorf("took %d of %d", count(taken), n)
			}
			if await(b.FD()); !readable(b.FD()) || readable(a.FD()) {
				t.Error("the wrong end is readable")
			}
			wantFrames(t, b, sent)
		}
	}
	receivedBothWays(t, inOrder)
	sentBothWays(t, inOrder)
}

// Frames too long for the transmit ring go another way, and nothing overtakes them.
func TestLongAndShortFramesStayInOrder(t *testing.T) {
	a, b := vethPair(t)
	var sent [][]byte
	for i := range 10 {
		short := ethernet(numbered(i+1, 100))[i:]
		long := ethernet(numbered(i+1, HeaderLen+9000))[i:]
		superHeader(long[0])
		sendAll(t, a, short)
		sendAll(t, a, long)
		sent = append(sent, short[0], long[0])
	}
	got := receive(t, b, len(sent))
	for i, f := range got {
		if len(f) != len(sent[i]) {
			t.Errorf("frame %d has %d bytes, want %d", i, len(f), len(sent[i]))
		}
	}
}

func TestARefusedFrameDoesNotHoldUpThoseBehindIt(t *testing.T) {
	for _, row := range []struct {
		name             string
		long             bool // beyond the MTU, and too long for a transmit ring
		tooLong, invalid uint64
	}{{"sent by system calls", true, 5, 1}, {"sent to a ring", false, 0, 6}} {
		t.Run(row.name, func(t *testing.T) {
			a, b := vethPair(t)
			sent := ethernet(numbered(100, 100))
			refused := map[int]bool{0: true, 7: true, 8: true, 63: true, 64: true, 99: true}
			var want [][]byte
			for i := range sent {
				switch {
				case refused[i] && row.long && i != 8:
					sent[i] = ethernet(numbered(1, 3000))[0]
				case refused[i]:
					sent[i][1] = 0x3f // no such gso_type
				default:
					want = append(want, sent[i])
				}
			}
			for range 2 * transmitSlots / len(want) {
				taken := sendAll(t, a, sent)
				for i, took := range taken {
					if took == refused[i] {
						t.Errorf("taken[%d] = %v", i, took)
					}
				}
				wantFrames(t, b, want)
			}
			n := uint64(2 * transmitSlots / len(want))
			if s := a.Stats(); s.TooLong != n*row.tooLong || s.Invalid != n*row.invalid {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

func TestTheKernelsTagIsPutBack(t *testing.T) {
	receivedBothWays(t, func(t *testing.T, a, b *Packet) {
		sent := ethernet(numbered(2, 100))
		copy(sent[0][HeaderLen+12:], "\x81\x00\x20\x64\x88\xb5")
		sendAll(t, a, sent)
		wantFrames(t, b, sent)
		if s := b.Stats(); s.Tagged != 1 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestFullSendBufferIsNoError(t *testing.T) {
	sentBothWays(t, func(t *testing.T, a, _ *Packet) {
		run(t, "tc qdisc add dev gw-a root tbf rate 100kbit burst 2kb limit 1mb")
		for _, fd := range []int{a.fd, a.out.fd} {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10); fd != 0 && err != nil {
				t.Fatal(err)
			}
		}
		n := count(sendAll(t, a, ethernet(numbered(200, 1000))))
		if s := a.Stats(); n == 0 || n == 200 || s.Full != uint64(200-n) {
			t.Errorf("took %d of 200, counted %+v", n, s)
		}
	})
}

// A device that takes its time holds the slots.
func TestAFullTransmitRingIsNoError(t *testing.T) {
	a, _ := vethPair(t)
	if err := unix.SetsockoptInt(a.out.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "tc qdisc add dev gw-a root tbf rate 100kbit burst 2kb limit 16mb")
	const sent = 2 * transmitSlots
	n := count(sendAll(t, a, ethernet(numbered(sent, 100))))
	if s := a.Stats(); n < transmitSlots || n > transmitSlots+100 || s.Full != uint64(sent-n) {
		t.Errorf("took %d of %d, counted %+v", n, sent, s)
	}
}

func TestFullDeviceQueueIsNoError(t *testing.T) {
	sentBothWays(t, func(t *testing.T, a, _ *Packet) {
		run(t, "tc qdisc add dev gw-a root tbf rate 100kbit burst 2kb limit 20kb")
		for range 4 {
			before := a.Stats().NoBuffers
			n := count(sendAll(t, a, ethernet(numbered(200, 1000))))
			if s := a.Stats(); n == 200 || s.NoBuffers-before != uint64(200-n) {
				t.Errorf("took %d of 200, counted %+v", n, s)
			}
		}
	})
}

func TestKernelDropsAddUp(t *testing.T) {
	receivedBothWays(t, func(t *testing.T, a, b *Packet) {
		const sent = 16<<20/512 + 500 // the buffer is charged more than 512 bytes for a frame
		got, lost := uint64(0), uint64(0)
		for round := uint64(1); round <= 2; round++ {
			sendAll(t, a, ethernet(numbered(sent, 100)))
			for deadline := time.Now().Add(20 * time.Second); got+lost < round*sent && time.Now().Before(deadline); {
				frames, err := b.Receive()
				if err != nil {
					t.Fatal(err)
				}
				got += uint64(len(frames))
				lost = b.Stats().KernelDrops
			}
			if got+lost != round*sent || lost == 0 {
				t.Errorf("received %d and counted %d drops of %d frames", got, lost, round*sent)
			}
		}
	})
}

func TestAPortThatGoesDownComesBack(t *testing.T) {
	test := func(t *testing.T, a, b *Packet) {
		run(t, "ip link set gw-b down")
		if _, err := b.Receive(); !errors.Is(err, ErrDown) {
			t.Errorf("Receive: %v", err)
		}
		taken := []bool{true, true}
		if err := b.Send(ethernet(numbered(2, 100)), taken); !errors.Is(err, ErrDown) || count(taken) != 0 {
			t.Errorf("Send: %v, taken %v", err, taken)
		}
		run(t, "ip link set gw-b up")
		settle(t, a, b)
		sent := ethernet(numbered(3, 100))
		sendAll(t, a, sent)
		wantFrames(t, b, sent)
	}
	receivedBothWays(t, test)
	sentBothWays(t, test)
}

func TestAPortThatIsGoneIsAnError(t *testing.T) {
	receivedBothWays(t, func(t *testing.T, a, b *Packet) {
		run(t, "ip link del gw-a")
		if _, err := b.Receive(); err == nil {
			t.Error("Receive gives no error")
		}
		for _, l := range []Link{a, b} {
			if err := l.Send(ethernet(numbered(1, 100)), make([]bool, 1)); err == nil {
				t.Error("Send gives no error")
			}
			first, second := l.Close(), l.Close()
			if first != nil || second != nil || l.FD() != -1 {
				t.Error("Close fails")
			}
			if _, err := l.Receive(); !errors.Is(err, unix.EBADF) {
				t.Errorf("Receive after Close: %v", err)
			}
			if err := l.Send(ethernet(numbered(1, 100)), make([]bool, 1)); !errors.Is(err, unix.EBADF) {
				t.Errorf("Send after Close: %v", err)
			}
		}
	})
}

func TestWrongDescriptorsAreRefused(t *testing.T) {
	enterNamespace(t)
	run(t, "ip link set lo up")
	fd := packetSocket(t, "lo")
	defer unix.Close(fd)
	if _, err := NewPacket(fd, false); err == nil || !strings.Contains(err.Error(), "PACKET_VNET_HDR") {
		t.Errorf("a socket without header: %v", err)
	}
	if _, err := NewTAP(fd); err == nil {
		t.Error("a socket is taken for a TAP")
	}
	if _, err := openTAP(t, unix.IFF_TAP|unix.IFF_NO_PI); err == nil || !strings.Contains(err.Error(), "flags") {
		t.Errorf("a TAP without header: %v", err)
	}
}

func TestAPortThatIsGivenNoRingIsReadBySystemCalls(t *testing.T) {
	a, _ := vethPair(t)
	fd := packetSocket(t, "gw-b", unix.PACKET_VNET_HDR)
	// A socket that has a ring may not say any more of which version it is.
	other := unix.TpacketReq{Block_size: 4096, Block_nr: 1, Frame_size: 2048, Frame_nr: 2}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_TX_RING, &other); err != nil {
		t.Fatal(err)
	}
	b, err := NewPacket(fd, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if denied, _ := b.Denied(); !b.Ringless() || !errors.Is(denied, unix.EBUSY) {
		t.Errorf("ringless: %v, %v", b.Ringless(), denied)
	}
	sent := ethernet(numbered(100, 100))
	sendAll(t, a, sent)
	wantFrames(t, b, sent)
}

func TestTAPCarriesFramesBothWays(t *testing.T) {
	enterNamespace(t)
	tap, err := openTAP(t, unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR)
	if err != nil {
		t.Fatal(err)
	}
	if err := tap.Send(ethernet(numbered(1, 100)), make([]bool, 1)); !errors.Is(err, ErrDown) {
		t.Errorf("Send to a device that is down: %v", err)
	}
	run(t, "sysctl -qw net.ipv6.conf.gw-t.disable_ipv6=1")
	run(t, "ip link set gw-t up")
	kernel := openPacket(t, "gw-t", kind{})

	sent := ethernet(numbered(100, 100))
	sendAll(t, kernel, sent)
	if !readable(tap.FD()) {
		t.Error("not readable with frames waiting")
	}
	wantFrames(t, tap, sent)

	sent[5][1] = 0x3f // no such gso_type
	sent[6] = []byte("short")
	taken := sendAll(t, tap, sent)
	if count(taken) != 98 || taken[5] || taken[6] {
		t.Errorf("taken %v", taken)
	}
	if s := tap.Stats(); s.Invalid != 2 {
		t.Errorf("counted %+v", s)
	}
	wantFrames(t, kernel, append(sent[:5:5], sent[7:]...))

	run(t, "ip link del gw-t")
	if _, err := tap.Receive(); err == nil {
		t.Error("Receive from a device that is gone gives no error")
	}
	if err := tap.Send(sent, taken); err == nil {
		t.Error("Send to a device that is gone gives no error")
	}
	if first, second := tap.Close(), tap.Close(); first != nil || second != nil {
		t.Error("Close fails")
	}
}

func TestPacketAndTAPDoNotAllocate(t *testing.T) {
	a, b := vethPair(t)
	frames, taken := ethernet(numbered(Batch, 100)), make([]bool, Batch)
	for range 2 {
		if n := testing.AllocsPerRun(100, func() {
			_ = a.Send(frames, taken)
			_, _ = b.Receive()
			_ = b.Waiting(1024)
		}); n != 0 {
			t.Errorf("%v allocations a batch between packets, ringless: %v", n, b.Ringless())
		}
		if err := b.leaveRing(); err != nil {
			t.Fatal(err)
		}
	}
	tap, err := openTAP(t, unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "ip link set gw-t up")
	if n := testing.AllocsPerRun(100, func() {
		_ = tap.Send(frames, taken)
		_, _ = tap.Receive()
	}); n != 0 {
		t.Errorf("%v allocations a batch on the TAP", n)
	}
}

// BenchmarkVethHop is one frame from a socket through a veth pair into another
// socket: send, the kernel's way between, receive.
func BenchmarkVethHop(bench *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
		gso   bool
		batch int
	}{
		{"60 bytes in batches of 64", 60, false, 64},
		{"1514 bytes in batches of 64", 1514, false, 64},
		{"65226 bytes in batches of 8", 65226, true, 8},
	} {
		bench.Run(size.name, func(bench *testing.B) {
			a, b := vethPair(bench)
			frames, taken := ethernet(numbered(size.batch, HeaderLen+size.bytes)), make([]bool, size.batch)
			for _, f := range frames {
				if size.gso {
					superHeader(f)
				}
			}
			bench.SetBytes(int64(size.bytes))
			bench.ReportAllocs()
			got := 0
			for i := 0; i < bench.N; i += size.batch {
				if err := a.Send(frames, taken); err != nil || count(taken) != size.batch {
					bench.Fatalf("took %d, %v: %+v", count(taken), err, a.Stats())
				}
				for want := got + size.batch; got < want; {
					fs, err := b.Receive()
					if err != nil {
						bench.Fatal(err)
					}
					if got += len(fs); fs == nil {
						await(b.FD())
					}
				}
			}
		})
	}
}

// superHeader makes the frame a TCP super-packet over IPv4.
func superHeader(f []byte) {
	le := binary.LittleEndian
	f[0], f[1] = 1, 1
	le.PutUint16(f[2:], 54)
	le.PutUint16(f[4:], 1448)
	le.PutUint16(f[6:], 34)
	le.PutUint16(f[8:], 16)
	eth := f[HeaderLen:]
	copy(eth[12:], "\x08\x00\x45\x00")
	binary.BigEndian.PutUint16(eth[16:], uint16(len(eth)-14))
	eth[22], eth[23] = 64, 6
	eth[46] = 5 << 4
}

// superDatagram has the kernel send a UDP super-packet from gw-a to gw-b.
func superDatagram(t *testing.T) {
	t.Helper()
	far, err := net.InterfaceByName("gw-b")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "ip addr add 10.9.0.1/24 dev gw-a")
	run(t, "ip neigh replace 10.9.0.2 dev gw-a lladdr "+far.HardwareAddr.String())
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 500); err == nil {
		err = unix.Sendto(fd, make([]byte, 5000), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 9, 0, 2}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Before 6.2 the kernel cannot say what a UDP super-packet is: it drops it, and a
// ring that it was on its way to for good.
func TestAUDPSuperPacketEndsNoPort(t *testing.T) {
	receivedBothWays(t, func(t *testing.T, a, b *Packet) {
		superDatagram(t)
		whole, others := uint64(0), 0
		for deadline := time.Now().Add(20 * time.Second); others == 0 && time.Now().Before(deadline); {
			sendAll(t, a, ethernet(numbered(1, 100)))
			await(b.FD())
			got, err := b.Receive()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range got {
				switch string(f[HeaderLen+12:][:2]) {
				case "\x08\x00":
					whole++
				case "\x88\xb5":
					others++
				}
			}
			if got == nil {
				b.Stats()
			}
		}
		s := b.Stats()
		t.Logf("%d super-packets came, ringless: %v, counted %+v", whole, b.Ringless(), s)
		if others == 0 || whole+s.KernelDrops+s.Malformed == 0 {
			t.Errorf("%d frames came after it", others)
		}
	})
}

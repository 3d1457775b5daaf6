package capture_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/capture"
)

const slot = 3

var who = capture.Client{Device: 7, Slot: slot, MAC: "02:00:00:00:00:0c", IP: "10.10.0.2", LAN: "eth1", WAN: "eth0"}

// house is a table with a client, and a forwarder that takes in what it is told.
type house struct {
	*testing.T
	table    *clients.Table
	captures *capture.Captures
	mu       sync.Mutex
	deaf     bool
	rung     func() // before the forwarder takes in what it is told
	clock    clients.Clock
}

func newHouse(t *testing.T) *house {
	t.Helper()
	shape := clients.Shape{Slots: 16, Workers: 2, Captured: 1 << 18}
	table, err := clients.Format(make([]byte, clients.Size(shape)), shape)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{T: t, table: table, clock: clients.NewClock()}
	s := table.Slot(slot)
	s.Generation.Store(2)
	s.MAC.Store(0x02000000000c)
	s.Device.Store(7)
	s.State.Store(clients.SlotBound)
	table.Header().Captures[2].ID.Store(99) // a former control's
	ring := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.rung != nil {
			h.rung()
		}
		for w := range 2 {
			if !h.deaf {
				table.Worker(w).Changes.Store(table.Header().Changes.Load())
			}
		}
	}
	zero := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC).Add(-h.clock.Now())
	h.captures = capture.New(table, ring, func(at time.Duration) time.Time { return zero.Add(at) }, h.clock.Now, "gatewayd 1.2.3")
	if table.Header().Captures[2].ID.Load() != 0 {
		t.Fatal("what a control before this one captured is on")
	}
	return h
}

// begin begins a capture.
func (h *house) begin(most int) *capture.Capture {
	h.Helper()
	c, err := h.captures.Begin(who, most)
	if err != nil {
		h.Fatal(err)
	}
	return c
}

// put copies a frame as a worker does.
func (h *house) put(worker, place int, what clients.Copy, raw []byte) bool {
	what.ID, what.Length = h.table.Header().Captures[place].ID.Load(), max(what.Length, len(raw))
	return h.table.Copies(worker, place).Put(what, nil, raw)
}

// udp is a datagram whose checksum is left to the device, and where.
func udp(n int) (raw []byte, what clients.Copy) {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: []byte{10, 10, 0, 2}, DstIP: []byte{198, 51, 100, 1}}
	u := &layers.UDP{SrcPort: 5000, DstPort: 53}
	_ = u.SetNetworkLayerForChecksum(ip)
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 12}, DstMAC: []byte{2, 0, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv4},
		ip, u, gopacket.Payload(bytes.Repeat([]byte{byte(n)}, n))); err != nil {
		panic(err)
	}
	raw = bytes.Clone(b.Bytes())
	sum := uint32(0) // of the pseudo-header, RFC 768
	for i := 26; i < 34; i += 2 {
		sum += uint32(raw[i])<<8 | uint32(raw[i+1])
	}
	sum += 17 + uint32(len(raw)-34)
	sum = sum>>16 + sum&0xffff
	raw[40], raw[41] = byte(sum>>8), byte(sum)
	return raw, clients.Copy{SumFrom: 34, SumAt: 6}
}

// frames reads a file back, and fails where a checksum is wrong.
func frames(t *testing.T, file []byte) (got []gopacket.CaptureInfo, reader *pcapgo.NgReader) {
	t.Helper()
	reader, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, ci, err := reader.ReadPacketData()
		if err == io.EOF {
			return got, reader
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ci)
	}
}

func TestAStreamIsAWholeFile(t *testing.T) {
	h := newHouse(t)
	c := h.begin(capture.MaxLength)
	raw, sum := udp(100)
	for i := range 10 { // in the order of time, of whichever worker
		what := sum
		what.When, what.Port, what.Sent = h.clock.Now(), uint8(i/2%2), i%2 == 1
		h.put(i*7%2, 0, what, bytes.Clone(raw))
	}
	h.table.Copies(0, 0).Put(clients.Copy{ID: 4711, Length: len(raw)}, nil, raw) // of a capture before
	ctx, end := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, end)
	var file bytes.Buffer
	done, err := c.Write(ctx, &file, capture.Bounds{})
	if err != nil || done.Packets != 10 || done.Lost != 0 || done.Why != "it was ended" {
		t.Fatalf("%+v %v", done, err)
	}
	got, reader := frames(t, file.Bytes())
	if len(got) != 10 {
		t.Fatalf("%d packets", len(got))
	}
	for i, ci := range got {
		if ci.InterfaceIndex != i/2%2 || ci.Length != len(raw) || i > 0 && !ci.Timestamp.After(got[i-1].Timestamp) ||
			ci.Timestamp.Year() != 2026 || ci.Timestamp.Hour() != 9 {
			t.Errorf("packet %d: %+v", i, ci)
		}
	}
	for i, name := range []string{"lan", "wan"} {
		face, err := reader.Interface(i)
		if err != nil || face.Name != name || face.LinkType != layers.LinkTypeEthernet || face.TimestampResolution != 9 ||
			face.Statistics.PacketsReceived != []uint64{6, 4}[i] || face.Statistics.PacketsDropped != 0 || !strings.Contains(face.Description, []string{"eth1", "eth0"}[i]) {
			t.Errorf("%+v %v", face, err)
		}
	}
	if info := reader.SectionInfo(); info.Application != "gatewayd 1.2.3" || info.OS != "Linux" || !strings.Contains(info.Comment, "02:00:00:00:00:0c") {
		t.Errorf("%+v", info)
	}
	programsRead(t, file.Bytes(), 10)
}

// A bridge translates nothing, and its streams say so.
func TestAStreamOfABridgeSaysSo(t *testing.T) {
	h := newHouse(t)
	bridged := who
	bridged.Bridge = true
	c, err := h.captures.Begin(bridged, capture.MaxLength)
	if err != nil {
		t.Fatal(err)
	}
	defer c.End()
	ctx, end := context.WithCancel(t.Context())
	end()
	var file bytes.Buffer
	if _, err := c.Write(ctx, &file, capture.Bounds{}); err != nil {
		t.Fatal(err)
	}
	_, reader := frames(t, file.Bytes())
	for i, name := range []string{"lan", "wan"} {
		if face, err := reader.Interface(i); err != nil || face.Name != name || !strings.Contains(face.Description, "side of the bridge") {
			t.Errorf("%+v %v", face, err)
		}
	}
}

// programsRead has the programs that people use read a file, if they are there.
func programsRead(t *testing.T, file []byte, packets int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]string{
		{"tshark", "-n", "-r", name, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields", "-e", "udp.checksum.status"},
		{"tcpdump", "-n", "-vv", "-r", name}, {"capinfos", name}, {"editcap", name, name + ".2"}, {"mergecap", "-w", name + ".3", name, name + ".2"},
	} {
		if _, err := exec.LookPath(line[0]); err != nil {
			t.Logf("%s is not there", line[0])
			continue
		}
		cmd := exec.Command(line[0], line[1:]...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		said := strings.ToLower(errs.String())
		if err != nil || strings.Contains(said, "warning") || strings.Contains(said, "error") || strings.Contains(said, "cut short") || strings.Contains(said, "damaged") {
			t.Errorf("%v: %v %s", line, err, errs.String())
		}
		switch line[0] {
		case "tshark":
			if n := strings.Count(string(out), "1\n"); n != packets {
				t.Errorf("tshark finds %d of %d checksums right: %s", n, packets, out)
			}
		case "tcpdump":
			if strings.Contains(string(out), "bad ") {
				t.Errorf("tcpdump: %s", out)
			}
		}
	}
}

func TestAStreamEndsByItself(t *testing.T) {
	for _, row := range []struct {
		name   string
		bounds capture.Bounds
		during func(*house)
		why    string
	}{
		{"by its size", capture.Bounds{Size: 20000}, nil, "it has its 20000 bytes"},
		{"by its time", capture.Bounds{For: 50 * time.Millisecond}, nil, "its 50ms are over"},
		{"another MAC", capture.Bounds{}, func(h *house) { h.table.Slot(slot).MAC.Store(5) }, "another MAC"},
		{"another client", capture.Bounds{}, func(h *house) { h.table.Slot(slot).Generation.Add(1) }, "begin again"},
		{"nobody", capture.Bounds{}, func(h *house) { h.table.Slot(slot).State.Store(clients.SlotFree) }, "begin again"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newHouse(t)
			c := h.begin(capture.MaxLength)
			if row.during != nil {
				time.AfterFunc(20*time.Millisecond, func() { row.during(h) })
			}
			flood, over := make(chan struct{}), make(chan struct{})
			go func() { // that it goes on does not keep it from ending
				defer close(over)
				raw, sum := udp(1000)
				for {
					select {
					case <-flood:
						return
					default:
						sum.When = h.clock.Now()
						h.put(1, 0, sum, bytes.Clone(raw))
						time.Sleep(10 * time.Microsecond)
					}
				}
			}()
			var file bytes.Buffer
			done, err := c.Write(t.Context(), &file, row.bounds)
			close(flood)
			<-over
			if err != nil || !strings.Contains(done.Why, row.why) {
				t.Fatalf("%+v %v", done, err)
			}
			got, _ := frames(t, file.Bytes())
			if uint64(len(got)) != done.Packets || row.bounds.Size > 0 && (int64(file.Len()) > row.bounds.Size || file.Len() < 15000) {
				t.Errorf("%d packets, %d bytes: %+v", len(got), file.Len(), done)
			}
		})
	}
}

// stuck is a reader that takes nothing until it is told to.
type stuck struct {
	io.Writer
	goOn chan struct{}
}

func (s stuck) Write(b []byte) (int, error) {
	<-s.goOn
	return s.Writer.Write(b)
}

func TestAStreamTellsWhatWasLost(t *testing.T) {
	h := newHouse(t)
	c := h.begin(200)
	var file bytes.Buffer
	to := stuck{&file, make(chan struct{})}
	ctx, end := context.WithCancelCause(t.Context())
	go func() {
		raw, sum := udp(1000)
		put, lost := 0, 0
		for lost < 10 {
			sum.When, sum.Port, sum.Length = h.clock.Now(), 1, len(raw)
			if put++; !h.put(0, 0, sum, raw[:200]) {
				lost++
			}
		}
		end(errors.New("enough of it"))
		close(to.goOn)
	}()
	done, err := c.Write(ctx, to, capture.Bounds{})
	if err != nil || done.Lost != 10 || done.Packets < 100 || done.Why != "enough of it" {
		t.Fatalf("%+v %v", done, err)
	}
	got, reader := frames(t, file.Bytes())
	face, _ := reader.Interface(1)
	if uint64(len(got)) != done.Packets || face.Statistics.PacketsDropped != 10 || face.Statistics.PacketsReceived != done.Packets+10 {
		t.Errorf("%d packets, %+v", len(got), face.Statistics)
	}
}

// What is copied until the forwarder has taken in that it ends is in it.
func TestAStreamHasWhatWasCopiedLast(t *testing.T) {
	h := newHouse(t)
	c := h.begin(capture.MaxLength)
	id := h.table.Header().Captures[0].ID.Load()
	raw, sum := udp(100)
	sum.ID, sum.Length, sum.When = id, len(raw), h.clock.Now()
	h.mu.Lock()
	h.rung = func() { h.rung = nil; h.table.Copies(1, 0).Put(sum, nil, raw) }
	h.mu.Unlock()
	ctx, end := context.WithCancel(t.Context())
	end()
	var file bytes.Buffer
	if done, err := c.Write(ctx, &file, capture.Bounds{}); err != nil || done.Packets != 1 {
		t.Errorf("%+v %v, want the packet", done, err)
	}
}

// What a control before this one has not read takes no memory any more.
func TestFormerCopiesAreGivenBack(t *testing.T) {
	table, f, err := clients.Create(clients.Shape{Slots: 16, Workers: 2, Captured: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer table.Close()
	used := func() int64 {
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t).Blocks * 512
	}
	before := used()
	for table.Copies(1, 2).Put(clients.Copy{Length: 60000}, nil, make([]byte, 60000)) {
	}
	if n := used() - before; n < 1<<19 {
		t.Fatalf("%d bytes more in use, want most of 1 MiB", n)
	}
	capture.New(table, func() {}, nil, nil, "")
	if n := used() - before; n > 1<<15 {
		t.Errorf("%d bytes are still in use", n)
	}
}

func TestWhatCannotBeCaptured(t *testing.T) {
	h := newHouse(t)
	var all []*capture.Capture
	for range clients.MaxCaptures {
		all = append(all, h.begin(100))
	}
	if _, err := h.captures.Begin(who, 100); !errors.Is(err, capture.ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	all[1].End()
	all[1] = h.begin(100)
	for _, nobody := range []capture.Client{{Slot: 0}, {Slot: 16, Device: 7}, {Slot: slot, Device: 8}, {Slot: slot + 1, Device: 7}} {
		if _, err := h.captures.Begin(nobody, 100); !errors.Is(err, capture.ErrNoSlot) {
			t.Errorf("%+v: %v", nobody, err)
		}
	}
	all[0].End()
	h.mu.Lock()
	h.deaf = true
	h.mu.Unlock()
	if _, err := h.captures.Begin(who, 100); !errors.Is(err, capture.ErrDeaf) {
		t.Errorf("without a forwarder: %v", err)
	}
	h.mu.Lock()
	h.deaf = false
	h.mu.Unlock()
	h.begin(100) // its place was given back
}

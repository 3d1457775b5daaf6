//go:build netns

// These tests need root. They make the bench's own namespaces, look from outside
// and see that nothing stays.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// leaves fails if a namespace, a directory or a process of this bench stays.
func leaves(t *testing.T) {
	t.Helper()
	mine := fmt.Sprintf("gwb-%d-", os.Getpid())
	for _, pattern := range []string{"/run/netns/" + mine + "*", filepath.Join(os.TempDir(), mine+"*")} {
		if left, _ := filepath.Glob(pattern); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range commands {
		if text, err := os.ReadFile(name); err == nil && strings.Contains(string(text), mine) {
			t.Errorf("still runs: %q", text)
		}
	}
}

func TestBrokenRulesMakeTheRunVoid(t *testing.T) {
	defer leaves(t)
	ctx := t.Context()
	for _, row := range []struct{ name, program, args, want string }{
		{"without the class", "tc", "qdisc del dev eth0 root", "no class of a client"},
		{"without masquerade", "nft", "flush chain ip bench postrouting", "masqueraded"},
		{"with forward open beside the set", "nft", "insert rule ip bench forward accept", "set up"},
	} {
		k, err := newKernel(ctx, hotspot, one)
		if err != nil {
			t.Fatal(err)
		}
		bulk := trials("cubic")[0]
		if _, err := once(ctx, k, bulk, terms{lasts: time.Second}); err != nil {
			t.Errorf("unbroken: %v", err)
		}
		if _, err := run(ctx, k.place.gateway, row.program, strings.Fields(row.args)...); err != nil {
			t.Fatal(err)
		}
		if row.program == "nft" && strings.Contains(row.args, "postrouting") { // the far end still has to answer
			if err := ip(ctx, "-n "+k.place.server+" route add 10.10.0.0/16 via 203.0.113.2"); err != nil {
				t.Fatal(err)
			}
		}
		_, err = once(ctx, k, bulk, terms{lasts: time.Second})
		expect(t, row.name, err, row.want)
		if err := k.stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestBenchEndsCleanWhenStoppedAtAnyTime(t *testing.T) {
	binary := os.Getenv("GATEWAYD_BINARY")
	if binary == "" {
		t.Fatal("GATEWAYD_BINARY is not set: the built binary")
	}
	for _, after := range []time.Duration{20, 120, 400, 1500, 4000} {
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		err := bench(ctx, []string{"-binary", binary, "-out", t.TempDir()})
		if cancel(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped after %d ms: %v", after, err)
		}
		leaves(t)
	}
}

func TestBenchRuns(t *testing.T) {
	binary := os.Getenv("GATEWAYD_BINARY")
	if binary == "" {
		t.Fatal("GATEWAYD_BINARY is not set: the built binary")
	}
	defer leaves(t)
	out := t.TempDir()
	err := bench(t.Context(), []string{"-binary", binary, "-repeats", "1", "-out", out, "-only", "^tcp_up_1$|^udp_64$|^new_remotes|^bridge_up_1$"})
	if err != nil && !errors.Is(err, errVoid) { // a busy machine may lack an answer
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "bench.html")); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil || len(r.Figures) != 7 || len(r.Bills) == 0 {
		t.Errorf("%v, %d figures, bills %+v", err, len(r.Figures), r.Bills)
	}
	for _, v := range r.Voids {
		if strings.Contains(v.Why, "billed") {
			t.Errorf("%+v", v)
		}
	}
}

func TestBenchSaysThatTheBinaryDoesNotStart(t *testing.T) {
	defer leaves(t)
	if err := bench(t.Context(), []string{"-binary", "/bin/false"}); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("%v", err)
	}
}

// tried runs a counter's program on a frame and returns what becomes of it.
func tried(t *testing.T, marks *answers, frame []byte, gsoSize uint32) (verdict uint32, out []byte, counted traffic) {
	t.Helper()
	return triedWith(t, marks, nil, frame, gsoSize)
}

// triedWith has the program count for each client, too.
func triedWith(t *testing.T, marks *answers, each asm.Instructions, frame []byte, gsoSize uint32) (verdict uint32, out []byte, counted traffic) {
	t.Helper()
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 16, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: whole(counts, marks, each)})
	if err != nil {
		t.Fatal(err)
	}
	c := counter{counts: counts, program: program}
	context := make([]byte, 192) // struct __sk_buff
	binary.NativeEndian.PutUint32(context[skbGSOSize:], gsoSize)
	out = make([]byte, len(frame)+256)
	run := ebpf.RunOptions{Data: frame, DataOut: out, Context: context}
	if verdict, err = program.Run(&run); err != nil {
		t.Fatal(err)
	}
	if counted, err = c.read(); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	return verdict, run.DataOut, counted
}

// frameTo is a frame of a stream's flow.
func frameTo(port uint16, size, flow int) []byte {
	m := stream{clients: 3, mappings: 6, remotes: 2, first: 4321, port: port, size: size}.mould(make([]byte, 6))
	b := append([]byte(nil), m.original...)
	m.write(b, flow)
	return b
}

// The counter's program, run by the kernel on frames that this test makes.
func TestCounterCountsWhatIsOnTheWire(t *testing.T) {
	frame := func(size int, change func([]byte)) []byte {
		b := frameTo(discard, size, 0)
		change(b)
		return b
	}
	tcp := func(b []byte) { b[23], b[46] = 6, 8<<4 } // 32 bytes of header
	length := func(b []byte, n int) { b[16], b[17] = byte(n>>8), byte(n) }
	for _, row := range []struct {
		name    string
		frame   []byte
		gsoSize uint32
		want    traffic
		verdict uint32
	}{
		{"a packet to the discard port ends here", frame(60, func([]byte) {}), 0, traffic{1, 46}, tcxDrop},
		{"another port's goes on", frame(60, func(b []byte) { b[37] = 53 }), 0, traffic{1, 46}, 0xffffffff},
		{"padding is not layer 3", frame(60, func(b []byte) { tcp(b); length(b, 40) }), 0, traffic{1, 40}, 0xffffffff},
		{"a super-packet counts as three packets", frame(14+52+3000, tcp), 1448, traffic{3, 3000 + 3*52}, 0xffffffff},
		{"full segments only", frame(14+52+2896, tcp), 1448, traffic{2, 2896 + 2*52}, 0xffffffff},
		{"a UDP super-packet has a header each", frame(14+28+2500, func([]byte) {}), 1000, traffic{3, 2500 + 3*28}, tcxDrop},
		{"ARP is not counted", frame(60, func(b []byte) { b[13] = 6 }), 0, traffic{}, 0xffffffff},
	} {
		verdict, _, got := tried(t, nil, row.frame, row.gsoSize)
		if got != row.want || verdict != row.verdict {
			t.Errorf("%s: %+v, verdict %d; want %+v, %d", row.name, got, int32(verdict), row.want, int32(row.verdict))
		}
	}
}

// What the server's port sends back is the same packet the other way, and the
// client's port knows the flow of it.
func TestAFlowIsAnswered(t *testing.T) {
	const redirect = 7
	sent := frameTo(echo, 60, 9)
	verdict, back, counted := tried(t, nil, sent, 0)
	want := slices.Concat(sent[6:12], sent[:6], sent[12:26], sent[30:34], sent[26:30], sent[36:38], sent[34:36], sent[38:])
	if verdict != redirect || !bytes.Equal(back, want) || counted.Packets != 1 {
		t.Errorf("verdict %d, %d packets:\n%x, want\n%x", int32(verdict), counted.Packets, back, want)
	}
	a, err := newAnswers()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for range 2 { // an answer that comes twice is one
		if verdict, _, _ := tried(t, a, back, 0); verdict != tcxDrop || !a.has(9) || a.has(8) || a.count() != 1 {
			t.Errorf("verdict %d, %v %v, %d flows answered", int32(verdict), a.has(9), a.has(8), a.count())
		}
	}
	if a.clear(); a.count() != 0 || a.has(9) {
		t.Error("a cleared flow is answered")
	}
}

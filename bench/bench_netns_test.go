//go:build netns

// These tests need root. They make the bench's own namespaces, look from outside
// and see that nothing stays.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
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
		{"without the class", "tc", "qdisc del dev eth0 root", "no class 1:10"},
		{"without masquerade", "nft", "flush chain ip hotspot postrouting", "masqueraded"},
		{"with forward open beside the set", "nft", "insert rule ip hotspot forward accept", "set up"},
	} {
		k, err := newKernel(ctx)
		if err != nil {
			t.Fatal(err)
		}
		bulk := figures("cubic")[0]
		if _, err := once(ctx, k, bulk, time.Second); err != nil {
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
		_, err = once(ctx, k, bulk, time.Second)
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
	if err := bench(t.Context(), []string{"-binary", binary, "-quick", "-repeats", "1", "-out", out}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "bench.json")); err != nil {
		t.Error(err)
	}
}

func TestBenchSaysThatTheBinaryDoesNotStart(t *testing.T) {
	defer leaves(t)
	if err := bench(t.Context(), []string{"-binary", "/bin/false"}); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("%v", err)
	}
}

// The counter's program, run by the kernel on frames that this test makes.
func TestCounterCountsWhatIsOnTheWire(t *testing.T) {
	frame := func(size int, change func([]byte)) []byte {
		b := datagram(make([]byte, 6), 1, size)
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
		counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 16, MaxEntries: 1})
		if err != nil {
			t.Fatal(err)
		}
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: counting(counts.FD())})
		if err != nil {
			t.Fatal(err)
		}
		c := counter{counts: counts, program: program}
		context := make([]byte, 192) // struct __sk_buff
		binary.NativeEndian.PutUint32(context[skbGSOSize:], row.gsoSize)
		verdict, err := program.Run(&ebpf.RunOptions{Data: row.frame, Context: context})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.read(); err != nil || got != row.want || verdict != row.verdict {
			t.Errorf("%s: %+v, verdict %d, %v; want %+v, %d", row.name, got, int32(verdict), err, row.want, int32(row.verdict))
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
}

//go:build netns

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// One trial of each kind, short, on each side that has it: what plans come to is
// measured, and gatewayd's bills are exact.
func TestPlansAreFilled(t *testing.T) {
	binary := os.Getenv("GATEWAYD_BINARY")
	if binary == "" {
		t.Fatal("GATEWAYD_BINARY is not set: the built binary")
	}
	defer leaves(t)
	out := t.TempDir()
	if err := bench(t.Context(), []string{"-binary", binary, "-shaping", "-time", "1s", "-out", out, "-only", "^plan_down_20_32$|^plan_up_5_1_plain$|^shared_weights$|^plans_10$"}); err != nil && !errors.Is(err, errVoid) {
		t.Fatal(err) // on a busy machine the sender may not fill what it should
	}
	text, err := os.ReadFile(filepath.Join(out, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Voids {
		if !strings.Contains(v.Why, "busy") {
			t.Errorf("%+v", v)
		}
	}
	if len(r.Bills) != 1 || r.Bills[0].Of != billsPlans || r.Bills[0].Runs < 3 || r.Bills[0].Difference != 0 || r.Bills[0].Arrived == 0 {
		t.Errorf("bills %+v", r.Bills)
	}
	seen := 0
	for _, e := range r.Figures {
		sides := shapers
		if len(e.Sides) == 0 && e.Trial == "plans_10" {
			continue
		}
		switch {
		case e.Trial == "shared_weights":
			sides = shared.sides
		case e.Figure == ownPacket:
			sides = []string{ourselves}
		}
		for _, side := range sides {
			if _, measured := e.Sides[side]; !measured {
				t.Errorf("%s of %s is not measured on %s", e.Figure, e.Trial, side)
			}
		}
		// What is taken for the rate of HTB's class is what HTB lets pass: the way it
		// is measured is right. A busy machine has it pass less, never more.
		if e.Figure == ofPlan {
			seen++
			if part := e.Sides[hotspot].Median; part < 1 || part > 103 {
				t.Errorf("%s: %v %% of HTB's rate", e.Trial, part)
			}
		}
		if e.Figure == jainOf && e.Sides[hotspot].Median < 0.85 {
			t.Errorf("by weight, HTB's classes have an index of %v", e.Sides[hotspot].Median)
		}
	}
	if seen < 3 {
		t.Errorf("%d trials, want 3 or 4", seen)
	}
}

// The program counts for each client, run by the kernel on frames that this test makes.
func TestEachClientIsCounted(t *testing.T) {
	up := func(client int) []byte { return frameTo(discard, 60, client) }
	down := func(client int) []byte {
		b := frameTo(443, 60, 0)
		binary.BigEndian.PutUint32(b[atIP+16:], firstIP()+uint32(client))
		return b
	}
	for _, row := range []struct {
		name  string
		down  bool
		frame []byte
		want  []uint64
	}{
		{"down, by where it goes", true, down(2), []uint64{0, 0, 46}},
		{"down to the first", true, down(0), []uint64{46, 0, 0}},
		{"down to one too many", true, down(3), []uint64{0, 0, 0}},
		{"down to an address before the first", true, down(-1), []uint64{0, 0, 0}},
		{"up, by the flow in the payload", false, up(1), []uint64{0, 46, 0}},
		{"up, one too many", false, up(3), []uint64{0, 0, 0}},
		{"up, to another port", false, frameTo(443, 60, 1), []uint64{0, 0, 0}},
	} {
		each, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 3})
		if err != nil {
			t.Fatal(err)
		}
		var marks *answers
		if row.down {
			if marks, err = newAnswers(); err != nil {
				t.Fatal(err)
			}
		}
		_, _, counted := triedWith(t, marks, ofEach(each.FD(), 3, row.down), row.frame, 0)
		got, err := (&counter{each: each}).readEach()
		if err != nil || !slices.Equal(got, row.want) || counted.Packets != 1 {
			t.Errorf("%s: %v, %v, %d packets; want %v", row.name, got, err, counted.Packets, row.want)
		}
		each.Close()
		if marks != nil {
			marks.close()
		}
	}
}

// A frame on its way out gets its client's MAC, the first keeps its port's.
func TestClientsSpeakByTheirMACs(t *testing.T) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: speaking(300)})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	const port = "\x02\x00\x00\x00\x00\x0c"
	for client, want := range map[int]string{0: port, 1: "\x02\x00\x00\x01\x00\x01", 258: "\x02\x00\x00\x01\x01\x02", 299: "\x02\x00\x00\x01\x01\x2b", 300: port, -1: port} {
		frame := frameTo(443, 60, 0)
		copy(frame[6:], port)
		binary.BigEndian.PutUint32(frame[atIP+12:], firstIP()+uint32(client))
		out := make([]byte, len(frame)+256)
		run := ebpf.RunOptions{Data: frame, DataOut: out}
		if _, err := program.Run(&run); err != nil {
			t.Fatal(err)
		}
		if got := string(run.DataOut[6:12]); got != want || client > 0 && client < 300 && !bytes.Equal(run.DataOut[6:12], memberAt(client).mac) {
			t.Errorf("client %d speaks as %x, want %x", client, got, want)
		}
		if !bytes.Equal(run.DataOut[:6], frame[:6]) || !bytes.Equal(run.DataOut[12:], frame[12:]) {
			t.Errorf("client %d: more than the source's MAC was changed", client)
		}
	}
}

func TestALoadThatCannotConnectSaysSo(t *testing.T) {
	defer leaves(t)
	l, err := newLab(t.Context(), "l", shared)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.remove(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := newLoad(t.Context(), l, flowsOf(2), true, "cubic"); err == nil || !strings.Contains(err.Error(), "connect 2 flows") {
		t.Errorf("without a gateway: %v", err)
	}
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func sample() *report {
	r := &report{Repeats: 3}
	run := func(values ...float64) (list []measurement) {
		for _, v := range values {
			list = append(list, measurement{Value: v, Proof: counts{billedUp: 1001}, Arrived: arrival{Up: traffic{1, 1000}}})
		}
		return list
	}
	r.add(&result{figure: figure{key: "bulk", title: "bulk, up", unit: "Gbit/s", target: 0.7}, kernel: run(10, 5, 20), gatewayd: run(8, 4, 8)})
	r.add(&result{figure: figure{key: "small", title: "small, up", unit: "Mpps", target: 1, usual: 4}, kernel: run(2, 2, 2), gatewayd: run(1, 3, 1)})
	r.add(&result{figure: figure{key: "late", title: "late", unit: "µs", less: true}, unproven: true})
	r.Voids = []void{{1, "late", "gatewayd", "nothing arrived"}}
	return r
}

func TestTableSaysWhatWasMeasured(t *testing.T) {
	var text strings.Builder
	if err := sample().table(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"10.0 (5.00 .. 20.0)  8.00 (4.00 .. 8.00)  0.800 (0.400 .. 0.800)  ≥ 0.700 met",
		"0.500 (0.500 .. 1.50)   ≥ 1.00 MISSED",
		"not proven",
		"bills: 6 runs, 6000 layer-3 bytes at the far ends, billed +6 bytes",
		"small, up: the kernel usually has 4.00 Mpps",
		"void: repeat 1, late, gatewayd: nothing arrived",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, text.String())
		}
	}
}

func TestSaveWritesAllThree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := sample().save(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil || len(back.Figures) != 3 || back.Figures[0].Pairs[2].Ratio != 0.4 {
		t.Errorf("read back: %v\n%s", err, text)
	}
	for name, start := range map[string]string{"bench.png": "\x89PNG", "bench.svg": "<?xml"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.HasPrefix(string(text), start) {
			t.Errorf("%s: %v, begins %.20q", name, err, text)
		}
	}
}

func TestNumberHasThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0.0123: "0.012", 0.4: "0.400", 9.5: "9.50", 12.34: "12.3", 271.8: "272"} {
		if got := number(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

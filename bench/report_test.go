package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample has a figure of each kind.
func sample() *report {
	r := &report{Repeats: 3}
	add := func(key string, f figure, kernel, nat, ours []float64, short string) {
		one := &result{trial: trial{key: key, figures: []figure{f}}}
		for i := range ours {
			one.rounds = append(one.rounds, round{
				hotspot: {Values: map[string]float64{f.key: kernel[i]}, Short: short, Sender: byMessages},
				natOnly: {Values: map[string]float64{f.key: nat[i]}},
				ourselves: {Values: map[string]float64{f.key: ours[i]}, Proof: counts{billedUp: 1046, vanishedUp: 3, refusedUp: 2},
					Arrived: arrival{Up: traffic{1, 1000}}},
			})
		}
		r.add(one)
	}
	add("tcp_up_1", figure{key: goodput, title: "bulk, up", unit: "Gbit/s", targets: against(atLeast, 0.7, 2)},
		[]float64{10, 5, 20}, []float64{4, 4, 4}, []float64{8, 4, 8}, "")
	add("clients_1", figure{key: delivered, title: "small, up", unit: "Mpps", targets: against(atLeast, 1, 0), usual: usually(4, 0)},
		[]float64{2, 2, 2}, []float64{1, 1, 1}, []float64{4, 4, 4}, "the kernel hotspot has 2 Mpps")
	add("clients_10000", figure{key: delivered, title: "small, many", unit: "Mpps"},
		[]float64{1, 1, 1}, []float64{1, 1, 1}, []float64{2, 4, 3}, "")
	add("rtt_idle", figure{key: p50, title: "round trip", unit: "µs", less: true, targets: against(plus, 60, 10)},
		[]float64{100, 90, 80}, []float64{100, 90, 80}, []float64{130, 120, 150}, "")
	across := &result{trial: trial{key: "bridge_up_1", setting: bridged, answers: true, figures: []figure{{key: goodput, title: "bulk, across", unit: "Gbit/s", targets: map[string]target{routed: {1, atLeast}}}}}}
	for _, v := range []float64{9, 12} {
		across.rounds = append(across.rounds, round{routed: {Values: map[string]float64{goodput: 10}}, ourselves: {Values: map[string]float64{goodput: v}}})
	}
	r.add(across)
	r.add(&result{trial: trial{key: "late", figures: []figure{{key: "late", title: "late", unit: "µs"}}}, unproven: true})
	r.Senders = []offer{byMessages, byRing}
	for _, c := range []choice{{Trial: "clients_1", Side: hotspot, Chosen: byMessages}, {Trial: "clients_1", Side: ourselves, Chosen: byRing}, {Trial: "clients_10000", Side: hotspot, Chosen: byRing}} {
		c.Delivered = map[offer]float64{byMessages: 0.5, byRing: 0.75}
		r.Choices = append(r.Choices, c)
	}
	r.Voids = []void{{1, "late", ourselves, "nothing <b> arrived"}}
	r.Memory = []memory{{one.title, ourselves, "Pss", 79.1}}
	return r
}

func TestTableSaysWhatWasMeasured(t *testing.T) {
	var text strings.Builder
	if err := sample().table(&text); err != nil {
		t.Fatal(err)
	}
	plain := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{
		"10.0 (5.00 .. 20.0) 8.00 (4.00 .. 8.00) 4.00 (4.00 .. 4.00) 0.800 (0.400 .. 0.800) ≥ 0.7 met 2.00 (1.00 .. 2.00) ≥ 2 met",
		"2.00 (2.00 .. 2.00) ≥ 1 void",
		"+30 (+30 .. +70) ≤ +60 met +30 (+30 .. +70) ≤ +10 MISSED",
		"not proven",
		"bulk, across Gbit/s 10.0 (10.0 .. 10.0) 10.5 (9.00 .. 12.0) 1.05 (0.900 .. 1.20) ≥ 1 met",
		"TCP and pings: 4 runs",
		"10,000 clients, gatewayd: +33 % (+0 .. +100) per packet beside one; target < 10 % MISSED",
		"10,000 clients, kernel hotspot: +100 % (+100 .. +100) per packet beside one",
		"12 runs, 12000 layer-3 bytes at the far ends, billed +552 bytes beside them; the ports dropped 12 packets",
		"clients_1 is sent by what delivered more Mpps in a short try: kernel hotspot: sendmmsg (0.750 by AF_XDP, 0.500 by sendmmsg); gatewayd: AF_XDP (",
		"clients_10000 is sent by what",
		"memory, one client, gatewayd: 79.1 MB",
		"void: repeat 1, late, gatewayd: nothing <b> arrived",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("the table does not say %q:\n%s", want, text.String())
		}
	}
}

func TestTableSaysThatThereIsOneSender(t *testing.T) {
	r := sample()
	r.Senders, r.Choices = r.Senders[:1], nil
	var text strings.Builder
	if err := r.table(&text); err != nil || !strings.Contains(text.String(), "all floods were sent by sendmmsg: this kernel has no AF_XDP") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// A void round is left out, unless most are.
func TestVoidRounds(t *testing.T) {
	for _, row := range []struct {
		name  string
		short [3]bool // of the kernel's runs, 10, 20 and 40 beside 20 each
		ratio summary
		void  bool
	}{
		{"none", [3]bool{}, summary{1, 0.5, 2}, false},
		{"one is left out", [3]bool{true, false, false}, summary{0.75, 0.5, 1}, false},
		{"most are", [3]bool{true, true, false}, summary{1, 0.5, 2}, true},
	} {
		r := &result{trial: trial{key: "a"}}
		for i, v := range []float64{10, 20, 40} {
			m := measurement{Values: map[string]float64{"x": v}}
			if row.short[i] {
				m.Short = "too little"
			}
			r.rounds = append(r.rounds, round{hotspot: m, ourselves: {Values: map[string]float64{"x": 20}}})
		}
		b := r.entry(figure{key: "x", targets: against(atLeast, 0.7, 0)}).Beside[hotspot]
		if b.Ratio != row.ratio || (b.Void != "") != row.void || (b.Met == nil) != row.void {
			t.Errorf("%s: %+v", row.name, b)
		}
	}
}

func TestSaveWritesBoth(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := sample().save(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil || len(back.Figures) != 6 || back.Figures[0].Beside[hotspot].Each[2] != 0.4 ||
		back.Runs[1].Rounds[0][hotspot].Short == "" || back.Runs[1].Rounds[0][hotspot].Sender != byMessages || back.Choices[1].Chosen != byRing {
		t.Errorf("read back: %v\n%s", err, text)
	}
	page, err := os.ReadFile(filepath.Join(dir, "bench.html"))
	if err != nil {
		t.Fatal(err)
	}
	for want, times := range map[string]int{"<svg": 6, "<b class=\"met\">4 targets met": 1, "1 missed": 1, "<b class=\"void\">1 void": 1, "not proven": 1,
		"nothing &lt;b&gt; arrived": 1, "sent by sendmmsg or AF_XDP, as each": 1, "gatewayd: AF_XDP (0.750": 1, "0.800 (0.400 .. 0.800)": 1, "<td>bulk, across": 1, "10.0 (10.0 .. 10.0)<td class=\"ours\">10.5 (9.00 .. 12.0)": 1, "<!DOCTYPE": 1, "http://www.w3.org/2000/svg": 6, "src=": 0} {
		if got := strings.Count(string(page), want); got != times {
			t.Errorf("the page has %q %d times, want %d", want, got, times)
		}
	}
}

func TestNumberHasThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0.0123: "0.012", 0.4: "0.400", 9.5: "9.50", 12.34: "12.3", 271.8: "272", -271.8: "-272"} {
		if got := number(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

func TestReadBusy(t *testing.T) {
	got, err := readBusy("cpu  100 20 3 9999 777 5 6 888 0 0")
	if want := 134 * 10; err != nil || int(got.Milliseconds()) != want {
		t.Errorf("%v, %v; want %d ms", got, err, want)
	}
	for _, wrong := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu x 2 3 4 5 6 7 8"} {
		if _, err := readBusy(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

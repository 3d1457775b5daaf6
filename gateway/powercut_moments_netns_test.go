//go:build netns

package gateway_test

import (
	"syscall"
	"time"
)

// moments are when the power is cut.
var moments = []struct {
	name string
	cut  func(o *outage)
}{
	{"at any time", (*outage).cutsAtAnyTime},
	{"and again while it comes back", (*outage).cutsAgain},
	{"while its clients are silent", (*outage).cutsTheSilence},
	{"while it ends", (*outage).cutsTheEnd},
	{"while a snapshot takes the place of another", (*outage).cutsASnapshot},
}

func (o *outage) cutsAtAnyTime() {
	most := 2 * time.Second
	if soaking() {
		most = 9 * time.Second // more than a checkpoint may lack
	}
	time.Sleep(time.Duration(o.random.Int64N(int64(most))))
	o.cut()
	time.Sleep(3 * time.Second) // which nobody pays for
	o.back()
}

func (o *outage) cutsAgain() {
	time.Sleep(time.Duration(o.random.IntN(500)) * time.Millisecond)
	o.cut()
	most := 2
	if soaking() {
		most = 5 // more than a store that ends by itself may
	}
	for range 1 + o.random.IntN(most) {
		w := o.mains.watch()
		o.life = time.Now()
		o.d = o.launch()
		w.until("", 1+o.random.IntN(16), 1500*time.Millisecond)
		o.cut()
		o.t.Logf("cut while it comes back, after %v", w.heard)
		w.close()
	}
	o.back()
}

// cutsTheSilence cuts when all that was used is in a checkpoint: a bill that is too high
// has nothing to hide behind.
func (o *outage) cutsTheSilence() {
	o.ebb()
	time.Sleep(5 * checkpointTime / 2)
	o.cut()
	o.back()
}

func (o *outage) cutsTheEnd() {
	w := o.mains.watch()
	defer w.close()
	_ = o.d.cmd.Process.Signal(syscall.SIGTERM)
	w.until("", 1+o.random.IntN(5), 2*time.Second)
	o.cut()
	o.t.Logf("cut while it ends, after %v", w.heard)
	o.back()
}

func (o *outage) cutsASnapshot() {
	w := o.mains.watch()
	defer w.close()
	came := w.until("snapshot.partial", 1, 2*soon)
	w.until("", o.random.IntN(5), 2*time.Second)
	o.cut()
	o.t.Logf("cut while a snapshot takes the place of another (%v), after %v", came, w.heard)
	o.back()
}

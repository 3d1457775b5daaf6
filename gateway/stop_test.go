package gateway

import (
	"os/exec"
	"testing"
	"time"
)

func TestTheEndTakesLessThanTwoSeconds(t *testing.T) {
	k := &keeper{}
	if got := k.storePatience(); got != allPatience {
		t.Errorf("while nothing ended: %v", got)
	}
	k.ending = time.Now().Add(-forwardPatience - controlPatience)
	if got := forwardPatience + controlPatience + k.storePatience(); got > 2*time.Second-killTime {
		t.Errorf("all stuck: %v", got)
	}
	k.ending = time.Now().Add(-time.Hour)
	if got := k.storePatience(); got != storePatience {
		t.Errorf("long after: %v", got)
	}
}

// A disk that does not answer keeps even a killed process.
func TestAKilledChildIsNotWaitedForForEver(t *testing.T) {
	w, far, err := newWire()
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	p := &process{word: wordStore, wire: w, cmd: exec.Command("sleep", "1000")}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan bool)
	go func() {
		p.stop(make(chan struct{}), 0) // never ends
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("it waits")
	}
	if err := p.cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
}

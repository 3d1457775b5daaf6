package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/store"
)

func TestNoChildIsStartedAfterTheEnd(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	for range 100 { // what is left to chance would be seen
		p := &process{word: wordForward}
		if p.rest(ended, nil) {
			t.Fatal("a child may be started although all has ended")
		}
	}
}

// A port that is gone or in conflict keeps a forwarder from being started at
// all; the last one may have served for days.
func TestPausesGrowWhileAChildCannotBeStarted(t *testing.T) {
	p := &process{word: wordForward, started: time.Now().Add(-time.Hour)}
	for range 3 {
		p.rest(context.Background(), nil)
	}
	if p.pause <= firstPause {
		t.Errorf("the third attempt is followed by a pause of %v", p.pause)
	}
}

func TestAPauseEndsWhenAskedFor(t *testing.T) {
	p := &process{word: wordForward, pause: time.Hour}
	asked := make(chan struct{}, 1)
	asked <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if !p.rest(ctx, asked) {
		t.Error("the pause went on")
	}
}

func TestAKeeperIsNotHeldByAChildThatDoesNotListen(t *testing.T) {
	w, far, err := newWire()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	defer w.close()
	sent := make(chan error)
	go func() {
		for range 10_000 {
			if err := w.send(message{State: &keeperState{}}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		if err == nil {
			t.Error("10,000 messages found room")
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits")
	}
}

func TestAStoreThatWaitsForItsDirectoryEndsWithItsKeeper(t *testing.T) {
	dir := t.TempDir()
	held, letGo := context.WithCancel(context.Background())
	first := make(chan error, 1)
	conns := make(chan net.Conn)
	go func() { first <- store.Serve(held, dir, conns, store.Option{}) }()
	near, far := net.Pipe()
	conns <- far // it is open
	defer func() { letGo(); near.Close(); <-first }()

	w, end, err := newWire()
	if err != nil {
		t.Fatal(err)
	}
	inside, err := openWire(end)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // control is started twice meanwhile
		a, b := pairOfFiles(t)
		if err := w.send(message{Connect: true}, a); err != nil {
			t.Fatal(err)
		}
		a.Close()
		defer b.Close()
	}
	order := message{Store: &storeOrder{Path: dir}}
	order.Store.Log.Level = "error"
	second := make(chan error, 1)
	go func() { second <- runStore(inside, order, []*os.File{openDir(t, dir)}, func() string { return "" }) }()
	w.close()
	if err := <-second; err == nil || !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, want the end of its keeper", err)
	}
}

func openDir(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func pairOfFiles(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "store"), os.NewFile(uintptr(fds[1]), "control")
}

package main

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestAmountsInWords(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{timeText(0), "0 s"},
		{timeText(59), "59 s"},
		{timeText(60), "1 min 00 s"},
		{timeText(3599), "59 min 59 s"},
		{timeText(3600), "1 h 00 min"},
		{timeText(90000), "1 d 1 h"},
		{dataText(0), "0 kB"},
		{dataText(0.0019), "1 kB"},
		{dataText(0.9999), "999 kB"},
		{dataText(1.99), "1.9 MB"},
		{dataText(999.99), "999.9 MB"},
		{dataText(1234.5), "1.23 GB"},
		{rateText(0), "unlimited"},
		{rateText(5_000_000), "5 Mbit/s"},
	} {
		if row.got != row.want {
			t.Errorf("%q, want %q", row.got, row.want)
		}
	}
}

func TestAGaugeIsEmptyOnlyWhenNothingIsLeft(t *testing.T) {
	for _, row := range []struct {
		part, whole float64
		want        int
	}{{0, 100, 0}, {0.001, 100, 1}, {50, 100, 50}, {100, 100, 100}, {101, 100, 100}, {1, 0, 0}} {
		if got := percent(row.part, row.whole); got != row.want {
			t.Errorf("%v of %v: %d %%, want %d", row.part, row.whole, got, row.want)
		}
	}
}

func TestAClientsActionsAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns turns
		began := time.Now()
		for i := range 4 {
			if err := turns.wait(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if at := time.Since(began); at != time.Duration(i)*betweenTwo {
				t.Errorf("action %d began after %v, want %v", i, at, time.Duration(i)*betweenTwo)
			}
		}
		if err := turns.wait(t.Context(), 2); err != nil || time.Since(began) != 3*betweenTwo {
			t.Errorf("another client's waits %v, %v", time.Since(began), err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		refused := false
		for range 2 * int(mayWait/betweenTwo) {
			refused = refused || errors.Is(turns.wait(gone, 1), errHasty)
		}
		if !refused {
			t.Error("no action was refused")
		}
		time.Sleep(2 * mayWait)
		if err := turns.wait(t.Context(), 1); err != nil {
			t.Errorf("after a rest: %v", err)
		}
	})
}

// Who opens all connections that it may leaves some for others, and gets some
// again when it closes one.
func TestConnectionsAreShared(t *testing.T) {
	inner, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	accepted := make(chan net.Conn, 3*connsOfOne)
	go func() {
		l := fairly(inner)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp4", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var open []net.Conn
	for range connsOfOne {
		dial("127.0.0.2")
		open = append(open, <-accepted)
	}
	refused := dial("127.0.0.2")
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("one more than it may is not refused")
	}
	dial("127.0.0.3")
	(<-accepted).Close()
	open[0].Close()
	open[0].Close() // once is counted
	dial("127.0.0.2")
	if c := <-accepted; c.RemoteAddr().(*net.TCPAddr).IP.String() != "127.0.0.2" {
		t.Errorf("%v was accepted", c.RemoteAddr())
	}
	again := dial("127.0.0.2")
	if _, err := again.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that was closed twice counts twice")
	}
}

//go:build netns

package gateway_test

import (
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// payer is a client whose sessions run through the cuts. Its bill is held against
// what arrived at the far end.
type payer struct {
	name, mac, ip string
	from          *namespace
	every         time.Duration // between its datagrams; 0: it downloads by TCP instead
	size          int           // of a datagram, bytes of layer 3
	plan          string

	timed bool // its first session's time is looked at

	stream *stream
	first  int64  // its first session
	billed uint64 // bytes, when all was at rest last

	online            time.Time     // when its first packet since the power came back arrived; zero: none has
	least, most       time.Duration // how long it was online before that
	lost, paid, known time.Duration // at the last rest: what was not billed, what was, and the most that may have been
}

// bill is what all sessions of a payer have used, and the first one's time.
type bill struct {
	bytes           uint64
	secs            uint
	asked, answered time.Time
}

func (p *payer) bill(d *daemon) bill {
	d.t.Helper()
	b := bill{asked: time.Now()}
	for _, v := range list[session](d, "/devices/"+p.mac+"/sessions") {
		if b.bytes += v.UpBytes + v.DownBytes; v.ID == p.first {
			b.secs = v.TimeCons
		}
	}
	b.answered = time.Now()
	return b
}

// arrivals are when the datagrams of a stream arrived after a moment, in order.
func (s *stream) arrivals(after time.Time) (times []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.arrived {
		if at.After(after) {
			times = append(times, at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// comes notes when a payer's first packet arrived in the life that began then.
func (p *payer) comes(life time.Time) {
	if times := p.stream.arrivals(life); p.online.IsZero() && len(times) > 0 {
		p.online = times[0]
	}
}

// goes ends a life that began then, at a cut.
func (p *payer) goes(life, cut time.Time) {
	if p.comes(life); !p.online.IsZero() && p.online.Before(cut) {
		p.least += cut.Sub(p.online)
	}
	p.most += cut.Sub(life)
	p.online = time.Time{}
}

// download is a client that loads on and on by TCP, over a new connection when one
// breaks.
type download struct {
	listener net.Listener
	stop     chan struct{}
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []*net.TCPConn
	got   int64 // bytes
}

// download begins one.
func (l *lab) download() *download {
	l.t.Helper()
	x := &download{stop: make(chan struct{})}
	check(l.t, l.server.do(func() (err error) {
		x.listener, err = net.Listen("tcp4", serverIP+":0")
		return err
	}))
	l.t.Cleanup(x.end)
	x.running.Go(x.serve)
	x.running.Go(func() {
		for !x.ending() {
			x.load(l.client)
			time.Sleep(20 * time.Millisecond)
		}
	})
	return x
}

func (x *download) serve() {
	for {
		conn, err := x.listener.Accept()
		if err != nil {
			return
		}
		x.keep(conn)
		x.running.Go(func() {
			for b, err := make([]byte, 64<<10), error(nil); err == nil; {
				_, err = conn.Write(b)
			}
		})
	}
}

func (x *download) load(from *namespace) {
	var conn net.Conn
	err := from.do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", x.listener.Addr().String(), time.Second)
		return err
	})
	if err != nil {
		return
	}
	x.keep(conn)
	for b := make([]byte, 64<<10); err == nil; {
		_ = conn.SetReadDeadline(time.Now().Add(700 * time.Millisecond)) // a dead gateway says nothing
		var n int
		n, err = io.ReadAtLeast(conn, b, 1)
		x.mu.Lock()
		x.got += int64(n)
		x.mu.Unlock()
	}
	conn.Close()
}

// keep remembers an end of a connection, to break it.
func (x *download) keep(conn net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conns = append(x.conns, conn.(*net.TCPConn)); x.ending() {
		conn.Close()
	}
}

func (x *download) ending() bool {
	select {
	case <-x.stop:
		return true
	default:
		return false
	}
}

// passes says when more has come.
func (x *download) passes() func() error {
	loaded := func() int64 {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.got
	}
	before := loaded()
	return func() error {
		if loaded() == before {
			return errNotYet
		}
		return nil
	}
}

// end ends it at once, and leaves nothing behind that speaks later.
func (x *download) end() {
	x.mu.Lock()
	if !x.ending() {
		close(x.stop)
	}
	for _, c := range x.conns {
		_ = c.SetLinger(0) // it may be closed already
		c.Close()
	}
	x.mu.Unlock()
	x.listener.Close()
	x.running.Wait()
}

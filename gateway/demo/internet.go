package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Ports of the server.
const (
	webPort  = 80
	echoPort = 7
)

// internet is the far side: a web server and a UDP echo.
type internet struct {
	page []byte // /page serves it
	web  http.Server
	echo net.PacketConn
	done sync.WaitGroup

	mu       sync.Mutex
	conns    map[*net.TCPConn]bool
	visitors map[netip.Addr]bool // who asked the web server
	streams  map[uint64]*numbers // what reached the echo, by stream
}

// newInternet serves in n.
func newInternet(n *namespace) (*internet, error) {
	i := &internet{
		page: make([]byte, 256<<10), conns: map[*net.TCPConn]bool{},
		visitors: map[netip.Addr]bool{}, streams: map[uint64]*numbers{},
	}
	random := rand.NewChaCha8([32]byte(fmt.Appendf(nil, "%32d", time.Now().UnixNano())))
	random.Read(i.page)
	listener, err := n.listen(net.JoinHostPort(serverIP, strconv.Itoa(webPort)))
	if err != nil {
		return nil, fmt.Errorf("serve in the internet: %w", err)
	}
	if i.echo, err = n.listenPacket("udp4", net.JoinHostPort(serverIP, strconv.Itoa(echoPort))); err != nil {
		listener.Close()
		return nil, fmt.Errorf("serve in the internet: %w", err)
	}
	_ = i.echo.(*net.UDPConn).SetReadBuffer(streamBuffer)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", i.servePage)
	mux.HandleFunc("GET /data", i.serveData)
	mux.HandleFunc("POST /data", i.takeData)
	i.web = http.Server{Handler: mux, ConnState: i.follow}
	i.done.Go(func() { _ = i.web.Serve(listener) })
	i.done.Go(i.answer)
	return i, nil
}

func (i *internet) visitor(r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.visitors[from.Addr()] = true
}

// visited is who asked the web server so far.
func (i *internet) visited() []netip.Addr {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Collect(maps.Keys(i.visitors))
}

func (i *internet) servePage(w http.ResponseWriter, r *http.Request) {
	i.visitor(r)
	_, _ = w.Write(i.page)
}

// serveData sends ?bytes=N bytes of the page over and over, ?rate=N of them a
// second; without either it does not end, or not slow down.
func (i *internet) serveData(w http.ResponseWriter, r *http.Request) {
	i.visitor(r)
	left, err := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
	if err != nil {
		left = 1 << 62
	}
	rate, _ := strconv.ParseInt(r.FormValue("rate"), 10, 64)
	source := &endless{text: i.page}
	if rate <= 0 {
		_, _ = io.CopyN(w, source, left)
		return
	}
	flush := http.NewResponseController(w)
	for began, sent := time.Now(), int64(0); sent < left; {
		due := min(left, int64(time.Since(began).Seconds()*float64(rate)))
		if due > sent {
			n, err := io.CopyN(w, source, due-sent)
			if err != nil || flush.Flush() != nil {
				return
			}
			sent += n
		}
		if sleep(r.Context(), 10*time.Millisecond) != nil {
			return
		}
	}
}

func (i *internet) takeData(_ http.ResponseWriter, r *http.Request) {
	i.visitor(r)
	_, _ = io.Copy(io.Discard, r.Body)
}

// endless reads as its text over and over.
type endless struct {
	text []byte
	at   int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

// data is the first n bytes that /data sends.
func (i *internet) data(n int64) io.Reader { return io.LimitReader(&endless{text: i.page}, n) }

// answer echoes datagrams and notes the numbers they carry.
func (i *internet) answer() {
	buf := make([]byte, 2048)
	for {
		n, from, err := i.echo.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if n >= numbered {
			id, number := binary.BigEndian.Uint64(buf), binary.BigEndian.Uint64(buf[8:])
			i.mu.Lock()
			if i.streams[id] == nil {
				i.streams[id] = &numbers{}
			}
			i.streams[id].add(number)
			i.mu.Unlock()
		}
		_, _ = i.echo.WriteTo(buf[:n], from)
	}
}

// reached is the numbers of a stream that arrived.
func (i *internet) reached(id uint64) numbers {
	i.mu.Lock()
	defer i.mu.Unlock()
	if n := i.streams[id]; n != nil {
		return n.clone()
	}
	return numbers{}
}

func (i *internet) follow(c net.Conn, s http.ConnState) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if s == http.StateClosed || s == http.StateHijacked {
		delete(i.conns, t)
	} else {
		i.conns[t] = true
	}
}

// hangUp resets every connection, so that none of them sends again later.
func (i *internet) hangUp() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for c := range i.conns {
		_ = c.SetLinger(0)
		c.Close()
	}
}

func (i *internet) close() {
	i.hangUp()
	_ = i.web.Close()
	i.echo.Close()
	i.done.Wait()
}

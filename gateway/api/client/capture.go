package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// A Capture is the pcapng stream of GET /devices/{D}/capture, block by block. Next and
// Said are for one goroutine, End and Close for any.
type Capture struct {
	client *Client
	answer *http.Response
	in     *bufio.Reader
	block  []byte

	mu   sync.Mutex
	conn *net.UnixConn
}

// maxBlock bounds a block of pcapng, bytes.
const maxBlock = 1 << 20

// Types of pcapng's blocks.
const (
	SectionBlock = 0x0a0d0d0a // the first one
	PacketBlock  = 6
)

// Capture begins a capture; path is what follows /api/v1. It goes on until End, Close, or
// the end of ctx, which breaks it off. Errors: *Problem, *Unreachable.
func (c *Client) Capture(ctx context.Context, path string) (*Capture, error) {
	s := &Capture{client: c}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
		s.mu.Lock()
		s.conn, _ = conn.(*net.UnixConn)
		s.mu.Unlock()
		return conn, err
	}}
	answer, err := c.send(ctx, &http.Client{Transport: transport}, http.MethodGet, path, "application/octet-stream", nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_, err := c.read(http.MethodGet, answer)
		return nil, err
	}
	s.answer, s.in = answer, bufio.NewReaderSize(answer.Body, 1<<18)
	return s, nil
}

// Next returns the next block and its type; the block is the caller's until Next is called
// again. The error is io.EOF when the capture has ended in good order, *Unreachable when it
// broke off.
func (s *Capture) Next() (kind uint32, block []byte, err error) {
	const header = 8
	var head [header]byte
	if _, err := io.ReadFull(s.in, head[:]); err == io.EOF && s.answer.Trailer.Get("Capture-Ended") != "" {
		return 0, nil, io.EOF
	} else if err != nil {
		return 0, nil, s.broken(err)
	}
	kind = binary.LittleEndian.Uint32(head[:])
	length := binary.LittleEndian.Uint32(head[4:])
	if length%4 != 0 || length < header+4 || length > maxBlock {
		return 0, nil, fmt.Errorf("%s sent what is no pcapng: a block of %d bytes; see gatewayd version", s.client.socket, length)
	}
	if cap(s.block) < int(length) {
		s.block = make([]byte, length)
	}
	s.block = s.block[:length]
	copy(s.block, head[:])
	if _, err := io.ReadFull(s.in, s.block[header:]); err != nil {
		return 0, nil, s.broken(err)
	}
	return kind, s.block, nil
}

func (s *Capture) broken(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return s.client.unreachable(http.MethodGet, err)
}

// Live says whether there is nothing that Next could return at once.
func (s *Capture) Live() bool { return s.in.Buffered() == 0 }

// Said is what the daemon said after Next's io.EOF: why the capture ended, and how many
// packets found no room.
func (s *Capture) Said() (why, lost string) {
	return s.answer.Trailer.Get("Capture-Ended"), s.answer.Trailer.Get("Capture-Lost")
}

// End asks the daemon to end the capture in good order: Next goes on until io.EOF. An
// error says that there is nobody to ask.
func (s *Capture) End() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return errors.New("there is no connection")
	}
	return s.conn.CloseWrite()
}

// Close breaks the capture off. The error is nil.
func (s *Capture) Close() error { return s.answer.Body.Close() }

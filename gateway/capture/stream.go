package capture

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// Bounds are where a stream ends by itself; 0: there is none.
type Bounds struct {
	Size int64 // bytes
	For  time.Duration
}

// Ended is what came of a stream.
type Ended struct {
	Why     string // in words
	Packets uint64 // written
	Lost    uint64 // found no room, because they were read too slowly
}

const (
	chunk     = 256 << 10             // bytes, from which on they are written
	readEvery = 25 * time.Millisecond // while there is nothing to read; a ring has room for 1.3 Gbit/s so long
	endBytes  = 512                   // of the statistics, at most
)

// stream is a pcapng file on its way.
type stream struct {
	*Capture
	to       io.Writer
	out      bytes.Buffer
	ng       *pcapgo.NgWriter
	written  int64
	packets  [2]uint64 // by port
	lastTime time.Duration
}

// Write writes the capture until ctx ends, a bound is met or the device is another one, and
// ends the copying. It has then ended in good order, for ctx's cause or another reason; an
// error is of to.
func (c *Capture) Write(ctx context.Context, to io.Writer, bounds Bounds) (Ended, error) {
	s := &stream{Capture: c, to: to, lastTime: c.began}
	if err := s.begin(); err != nil {
		return s.ended(""), err
	}
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		full, more, err := s.read(bounds.Size)
		if err != nil {
			return s.ended(""), err
		}
		if full {
			return s.end(fmt.Sprintf("it has its %d bytes", bounds.Size))
		}
		if why := s.over(ctx, bounds.For); why != "" {
			c.stop()
			for more = true; more && err == nil && !full; { // what is there by now
				full, more, err = s.read(bounds.Size)
			}
			if err != nil {
				return s.ended(""), err
			}
			return s.end(why)
		}
		if !more {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}
}

// over says why the capture is over; empty: it is not.
func (s *stream) over(ctx context.Context, most time.Duration) string {
	switch {
	case ctx.Err() != nil && context.Cause(ctx) == ctx.Err():
		return "it was ended"
	case ctx.Err() != nil:
		return context.Cause(ctx).Error()
	case most > 0 && s.all.boot()-s.began >= most:
		return fmt.Sprintf("its %v are over", most)
	case !s.stands():
		return "the device has another MAC or another place in the table now: begin again"
	}
	return ""
}

// begin writes what a file begins with.
func (s *stream) begin() (err error) {
	face := func(name, port, what string) pcapgo.NgInterface {
		return pcapgo.NgInterface{Name: name, Description: what + " (" + port + ")", OS: "Linux", LinkType: layers.LinkTypeEthernet,
			SnapLength: uint32(s.most)}
	}
	who := s.client
	inside, outside := "the client's side, before translation", "the outside, behind translation"
	if who.Bridge {
		inside, outside = "the client's side of the bridge", "the network's side of the bridge"
	}
	s.ng, err = pcapgo.NewNgWriterInterface(&s.out, face("lan", who.LAN, inside), pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: s.all.named, OS: "Linux", Comment: fmt.Sprintf("device %d, %s %s", who.Device, who.MAC, who.IP)}})
	if err == nil {
		_, err = s.ng.AddInterface(face("wan", who.WAN, outside))
	}
	if err != nil {
		return err
	}
	return s.pass()
}

// pass writes what there is.
func (s *stream) pass() error {
	if err := s.ng.Flush(); err != nil {
		return err
	}
	n, err := s.to.Write(s.out.Bytes())
	s.written += int64(n)
	s.out.Reset()
	return err
}

// read writes a chunk of what is in the rings, those first that are older. full says that
// another packet would be beyond size, and more that there may be a chunk's worth yet. A few
// that came while the last ones were written are no reason to look again: who looks at each
// of them wakes three programs for it.
func (s *stream) read(size int64) (full, more bool, err error) {
	for s.out.Len() < chunk {
		first, at := -1, uint64(0)
		var oldest clients.Copy
		var raw []byte
		for i := range s.rings {
			what, frame, next, ok := s.next(i)
			if ok && (first < 0 || what.When < oldest.When) {
				first, at, oldest, raw = i, next, what, frame
			}
		}
		if first < 0 {
			break
		}
		if full = size > 0 && s.written+int64(s.out.Len()+len(raw)+64+endBytes) > size; full {
			break
		}
		if err := s.packet(&oldest, raw); err != nil {
			return false, false, err
		}
		s.rings[first].at = at
		s.rings[first].Done(at)
	}
	more = s.out.Len() >= chunk
	if s.out.Len() == 0 {
		return full, more, nil
	}
	return full, more, s.pass()
}

// next is the next copy in a ring that is this capture's.
func (s *stream) next(i int) (what clients.Copy, raw []byte, next uint64, ok bool) {
	r := &s.rings[i]
	for {
		what, raw, next, ok = r.Next(r.at)
		if ok && what.ID == s.id {
			return what, raw, next, true
		}
		if next != r.at {
			r.at = next
			r.Done(next)
		}
		if !ok {
			return what, nil, next, false
		}
	}
}

// packet adds one to the chunk.
func (s *stream) packet(what *clients.Copy, raw []byte) error {
	if len(raw) == what.Length { // of a part there is no sum
		packet.FinishSum(raw, what.SumFrom, what.SumAt)
	}
	s.packets[what.Port]++
	s.lastTime = max(s.lastTime, what.When)
	err := s.ng.WritePacket(gopacket.CaptureInfo{Timestamp: s.all.wall(what.When), CaptureLength: len(raw), Length: what.Length,
		InterfaceIndex: int(what.Port)}, raw)
	if err != nil {
		return err
	}
	return s.ng.Flush()
}

// end writes what a file ends with.
func (s *stream) end(why string) (Ended, error) {
	s.stop()
	lost := s.lost()
	now := s.all.wall(max(s.lastTime, s.all.boot()))
	for port := range s.packets {
		if err := s.ng.WriteInterfaceStats(port, pcapgo.NgInterfaceStatistics{LastUpdate: now, StartTime: s.all.wall(s.began), EndTime: now,
			PacketsReceived: s.packets[port] + lost[port], PacketsDropped: lost[port]}); err != nil {
			return Ended{}, err
		}
	}
	return s.ended(why), s.pass()
}

// ended is what came of it so far.
func (s *stream) ended(why string) Ended {
	lost := s.lost()
	return Ended{Why: why, Packets: s.packets[0] + s.packets[1], Lost: lost[0] + lost[1]}
}

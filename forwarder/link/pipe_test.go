package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	_ Link = (*Packet)(nil)
	_ Link = (*TAP)(nil)
	_ Link = (*pipeEnd)(nil)
)

// numbered returns n frames of the given length that start with their number.
func numbered(n, length int) [][]byte {
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = make([]byte, length)
		binary.BigEndian.PutUint32(frames[i][HeaderLen+14:], uint32(i))
	}
	return frames
}

func readable(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(poll, 0)
	return n == 1
}

func count(taken []bool) (n int) {
	for _, t := range taken {
		if t {
			n++
		}
	}
	return n
}

func TestPipeDeliversInOrderAndIsReadableWhileFramesWait(t *testing.T) {
	a, b := Pipe()
	defer a.Close()
	defer b.Close()
	if readable(b.FD()) {
		t.Error("readable with nothing sent")
	}
	if got, err := b.Receive(); got != nil || err != nil {
		t.Errorf("nothing waits, received %v, %v", got, err)
	}
	sent := numbered(150, 60)
	taken := make([]bool, len(sent))
	if err := a.Send(sent, taken); err != nil || count(taken) != len(sent) {
		t.Fatalf("sent %d, %v", count(taken), err)
	}
	if readable(a.FD()) {
		t.Error("the sender's own end is readable")
	}
	for n := 0; n < len(sent); {
		if !readable(b.FD()) {
			t.Fatalf("not readable with %d frames waiting", len(sent)-n)
		}
		got, err := b.Receive()
		if err != nil || len(got) == 0 || len(got) > Batch {
			t.Fatalf("received %d frames, %v", len(got), err)
		}
		for _, f := range got {
			if !bytes.Equal(f, sent[n]) {
				t.Fatalf("frame %d is % x", n, f)
			}
			n++
		}
	}
	if readable(b.FD()) {
		t.Error("readable with nothing left")
	}
}

func TestPipeCopiesFrames(t *testing.T) {
	a, b := Pipe()
	defer a.Close()
	defer b.Close()
	taken := make([]bool, pipeFrames)
	mine := bytes.Repeat([]byte("sender "), 20) // longer than what follows
	want := bytes.Clone(mine)
	if err := a.Send([][]byte{mine}, taken); err != nil {
		t.Fatal(err)
	}
	mine[0] = 'X'
	got, err := b.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Send(numbered(pipeFrames, 60), taken); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[0], want) {
		t.Errorf("the frame changed while its receiver owned it: %q", got[0])
	}
}

func TestPipeRefusesWhatItCannotHold(t *testing.T) {
	a, b := Pipe()
	defer a.Close()
	defer b.Close()
	taken := make([]bool, pipeFrames+10)
	if err := a.Send([][]byte{make([]byte, MaxFrame+1)}, taken); err != nil || taken[0] {
		t.Errorf("a frame beyond MaxFrame: taken %v, %v", taken[0], err)
	}
	if err := a.Send(numbered(pipeFrames+10, 60), taken); err != nil {
		t.Fatal(err)
	}
	if n := count(taken); n != pipeFrames || taken[pipeFrames] {
		t.Errorf("took %d frames, want the first %d", n, pipeFrames)
	}
}

func TestPipeSaysThatItsOtherEndIsClosed(t *testing.T) {
	a, b := Pipe()
	taken := make([]bool, 1)
	if err := a.Send(numbered(1, 60), taken); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Receive(); err != nil || len(got) != 1 {
		t.Errorf("what was sent before the Close: %d frames, %v", len(got), err)
	}
	if !readable(b.FD()) {
		t.Error("not readable, so that nobody will learn of the Close")
	}
	if _, err := b.Receive(); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive: %v", err)
	}
	if err := b.Send(numbered(1, 60), taken); !errors.Is(err, ErrClosed) || taken[0] {
		t.Errorf("Send: %v, taken %v", err, taken[0])
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive after the own Close: %v", err)
	}
}

func TestPipeDoesNotAllocate(t *testing.T) {
	a, b := Pipe()
	defer a.Close()
	defer b.Close()
	frames, taken := numbered(Batch, 1514), make([]bool, Batch)
	pass := func() {
		_ = a.Send(frames, taken)
		_, _ = b.Receive()
	}
	for range 3 * pipeFrames / Batch { // every buffer grows once
		pass()
	}
	if n := testing.AllocsPerRun(100, pass); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

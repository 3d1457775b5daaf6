package gateway

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Pauses before a child is started again: none at first, then doubling; a
// child that lasted for its calm starts from none. The forwarder's is short:
// each pause of it is one for all clients.
const (
	firstPause  = 20 * time.Millisecond
	lastPause   = 5 * time.Second
	calm        = 5 * time.Second
	forwardCalm = time.Second
)

// process is one child, or its absence.
type process struct {
	word     string
	calm     time.Duration
	cmd      *exec.Cmd
	wire     *wire
	started  time.Time
	starts   int
	pause    time.Duration
	messages chan message  // what it says; closed when its wire ends
	heard    chan struct{} // closed when all it said is in messages
	failed   string        // why it ended last, in its own words; empty once it serves
}

// start runs this binary again with the process's word.
func (p *process) start() error {
	w, far, err := newWire()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.word, err)
	}
	defer far.Close()
	self, err := os.Executable()
	if err != nil {
		w.close()
		return fmt.Errorf("start %s: %w", p.word, err)
	}
	cmd := exec.Command(self, p.word)
	cmd.Args[0] = "gatewayd"
	cmd.Env = append(os.Environ(), childEnv+"="+p.word)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{far}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's interrupt is the keeper's to pass on
	if err := cmd.Start(); err != nil {
		w.close()
		return fmt.Errorf("start %s: %w", p.word, err)
	}
	p.cmd, p.wire, p.started = cmd, w, time.Now()
	p.starts++
	p.messages, p.heard = make(chan message, 8), make(chan struct{})
	go listen(w, p.messages, p.heard)
	return nil
}

// listen hands on what a child says; what finds no room is lost.
func listen(w *wire, to chan<- message, heard chan<- struct{}) {
	defer close(heard)
	defer close(to)
	for {
		m, files, err := w.receive()
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			return
		}
		select {
		case to <- m:
		default:
		}
	}
}

// wait blocks until the child has ended. One that lasted for its calm is started
// again without a pause.
func (p *process) wait() error {
	err := p.cmd.Wait()
	<-p.heard // its last words
	p.wire.close()
	if time.Since(p.started) >= p.calm {
		p.pause = 0
	}
	return err
}

// killTime is how long a killed child may take to end; one that waits for a
// disk that does not answer ends when it answers.
const killTime = 50 * time.Millisecond

// stop ends a child by closing its wire, and kills it if it does not end in
// time. done is closed when wait has returned, which may be after stop has.
func (p *process) stop(done <-chan struct{}, patience time.Duration) {
	p.wire.close()
	select {
	case <-done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		select {
		case <-done:
		case <-time.After(killTime):
		}
	}
}

// rest sleeps before the next start; false when ctx ended meanwhile.
func (p *process) rest(ctx context.Context) bool {
	pause := p.pause
	p.pause = min(max(2*p.pause, firstPause), lastPause)
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
	return ctx.Err() == nil // no pause at all is over as soon as ctx is
}

func (p *process) pid() int {
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

package gateway

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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

// forwardNice is the forwarder's place in the queue for a core: packets go
// before all else on the box, which a kernel's own forwarding does too.
const forwardNice = -10

// forwardSlack is how late a timer of the forwarder may be, so that a pause of 20 µs
// is not one of 70 (PR_SET_TIMERSLACK of prctl(2)).
const forwardSlack = time.Microsecond

// process is one child, or its absence.
type process struct {
	word     string
	calm     time.Duration
	nice     int
	slack    time.Duration // of timers; 0: what the kernel takes for everybody
	cmd      *exec.Cmd
	wire     *wire
	started  time.Time
	starts   int
	pause    time.Duration
	messages chan message    // what it says; closed when its wire ends
	heard    chan struct{}   // closed when all it said is in messages
	ends     []time.Duration // when it ended by itself, since boot; the last ones
	said     string          // why this one ends, in its own words
	failed   string          // why it ended last, in its own words; empty once it serves
	confined confinement     // as what it is started
	pulse    pulse           // of the loop that keeps it running
	weak     string          // what keeps it from being started with less; empty: nothing
	open     string          // what it could not give up; empty: nothing
}

// start runs this binary again with the process's word, as confined.
func (p *process) start() error {
	w, far, err := newWire()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.word, err)
	}
	defer far.Close()
	nothing, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // exec would open it where that is forbidden already
	if err != nil {
		w.close()
		return fmt.Errorf("start %s: %w", p.word, err)
	}
	defer nothing.Close()
	cmd := exec.Command(p.confined.program, p.word)
	cmd.Args[0] = "gatewayd"
	cmd.Env = childEnviron(p.word)
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nothing, nothing, os.Stderr
	cmd.ExtraFiles = []*os.File{far}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true, // a terminal's interrupt is the keeper's to pass on
		Credential: p.confined.id.credential(),
	}
	if err := onBareThread(func() error {
		if err := p.confined.drop(); err != nil {
			return err
		}
		if p.slack != 0 { // a child inherits it
			if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(p.slack), 0, 0, 0); err != nil {
				return fmt.Errorf("set the slack of timers to %v: %w", p.slack, err)
			}
		}
		return cmd.Start()
	}); err != nil {
		w.close()
		return fmt.Errorf("start %s as %v: %w", p.word, p.confined.id, err)
	}
	if p.nice != 0 {
		// All its threads, those to come too. A keeper that may not
		// (CAP_SYS_NICE) leaves it as it is.
		_ = unix.Setpriority(unix.PRIO_PGRP, cmd.Process.Pid, p.nice)
	}
	p.cmd, p.wire, p.started = cmd, w, time.Now()
	p.starts++
	p.messages, p.heard = make(chan message, 8), make(chan struct{})
	go listen(w, p.messages, p.heard)
	return nil
}

// childEnviron is what a child needs of this process's environment: how Go's
// runtime works, and the time zone.
func childEnviron(word string) []string {
	env := []string{childEnv + "=" + word}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "GO") || strings.HasPrefix(e, "TZ=") {
			env = append(env, e)
		}
	}
	return env
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

// rest sleeps before the next start, until asked for at the latest; false when
// ctx ended meanwhile.
func (p *process) rest(ctx context.Context, asked <-chan struct{}) bool {
	pause := p.pause
	p.pause = min(max(2*p.pause, firstPause), lastPause)
	for over := time.After(pause); ; {
		select {
		case <-p.pulse:
			continue
		case <-ctx.Done():
		case <-asked:
		case <-over:
		}
		return ctx.Err() == nil // no pause at all is over as soon as ctx is
	}
}

func (p *process) pid() int {
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

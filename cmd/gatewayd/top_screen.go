package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatewayd/gateway/api/client"
)

// What a terminal is told (ECMA-48, and xterm's second screen).
const (
	toSecondScreen = "\x1b[?1049h\x1b[?25l" // and hide the cursor
	toFirstScreen  = "\x1b[?25h\x1b[?1049l"
	toTopLeft      = "\x1b[H"
	reversed       = "\x1b[7m"
	plain          = "\x1b[0m"
)

// Keys beside those of topOrders.
const (
	keyQuit  = 'Q'
	keyCtrlC = 3
	keyCtrlD = 4
)

// screen is a terminal while gatewayd top has it.
type screen struct {
	in, out *os.File
	saved   *term.State // how the keyboard was; nil: there is none
}

// openScreen takes the terminal. Who opened it closes it, whatever happens.
func openScreen(in io.Reader, out *os.File) (*screen, error) {
	s := &screen{out: out}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		saved, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return nil, err
		}
		s.in, s.saved = f, saved
	}
	if _, err := io.WriteString(out, toSecondScreen); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close gives the terminal back as it was.
func (s *screen) close() {
	_, _ = io.WriteString(s.out, toFirstScreen)
	if s.saved != nil {
		_ = term.Restore(int(s.in.Fd()), s.saved)
	}
}

// size is how many columns and rows there are.
func (s *screen) size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// keys returns what is typed, until ctx ends or nothing can come any more.
func (s *screen) keys(ctx context.Context) <-chan byte {
	if s.in == nil {
		return nil
	}
	typed := make(chan byte)
	go func() {
		var b [1]byte
		for {
			if n, err := s.in.Read(b[:]); n == 0 || err != nil {
				return
			}
			select {
			case typed <- b[0]:
			case <-ctx.Done():
				return
			}
		}
	}()
	return typed
}

// draw fills the screen with lines, of which one is a title.
func (s *screen) draw(lines []string, title int) error {
	width, height := s.size()
	var frame strings.Builder
	frame.WriteString(toTopLeft)
	for row := range height {
		text, room := "", width
		if row == height-1 {
			room-- // the last place of all, after which a terminal may scroll
		}
		if row < len(lines) {
			text = cut(lines[row], room)
		}
		text += strings.Repeat(" ", max(room-uniseg.StringWidth(text), 0))
		if row == title {
			text = reversed + text + plain
		}
		frame.WriteString(text)
		if row < height-1 {
			frame.WriteString("\r\n")
		}
	}
	_, err := io.WriteString(s.out, frame.String())
	return err
}

// lookout is a watch on a screen.
type lookout struct {
	watch
	screen  *screen
	daemon  *client.Client
	last    top    // what was answered last
	problem string // why nothing newer is shown; empty: it is of now
	answers chan looked
	asked   int    // number of the last call
	stop    func() // breaks that one off
	under   bool   // it is under way
}

// looked is the answer of a call.
type looked struct {
	number int
	top    top
	err    error
}

// topScreen keeps a screen up to date. The terminal is taken once there is something to
// show, and given back whatever ends it.
func topScreen(cmd *cobra.Command, daemon *client.Client, w watch, out *os.File) (err error) {
	ctx, end := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
	defer end()
	l := &lookout{watch: w, daemon: daemon, screen: &screen{out: out}, answers: make(chan looked, 1)}
	l.ask(ctx)
	select {
	case <-ctx.Done():
		return nil
	case a := <-l.answers:
		if a.err != nil {
			return failed(a.err)
		}
		l.take(a)
	}
	s, err := openScreen(cmd.InOrStdin(), out)
	if err != nil {
		return refused(err)
	}
	defer s.close()
	l.screen = s
	return refused(l.run(ctx))
}

// run looks until it is told to end.
func (l *lookout) run(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	keys := l.screen.keys(ctx)
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	tick := time.NewTicker(time.Duration(l.interval))
	defer tick.Stop()
	for shown := 1; ; {
		if err := l.draw(); err != nil {
			return err
		}
		if shown == l.count {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case key := <-keys:
			if l.press(ctx, key) {
				return nil
			}
		case <-resized:
			l.ask(ctx) // there may be room for more
		case a := <-l.answers:
			if a.number == l.asked {
				l.take(a)
				shown++
			}
		case <-tick.C:
			if !l.under {
				l.ask(ctx)
			}
		}
	}
}

// press does what a key says, and reports that it says to end.
func (l *lookout) press(ctx context.Context, key byte) (end bool) {
	switch key {
	case keyQuit, keyCtrlC, keyCtrlD:
		return true
	}
	for _, o := range topOrders {
		if key == o.key {
			l.order = orderFlag(o.word)
			l.ask(ctx)
		}
	}
	return false
}

// ask asks the daemon, and forgets what was asked before.
func (l *lookout) ask(ctx context.Context) {
	if l.stop != nil {
		l.stop()
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.asked++
	l.under = true
	lines := l.watch.lines
	if lines == 0 {
		_, lines = l.screen.size()
	}
	go func(number int, path string) {
		a := looked{number: number}
		a.err = l.daemon.Ask(ctx, "GET", path, nil, &a.top)
		select {
		case l.answers <- a:
		case <-ctx.Done():
		}
	}(l.asked, l.path(lines))
}

// take shows an answer; without one what was shown stays, and why is said.
func (l *lookout) take(a looked) {
	l.under = false
	if l.problem = ""; a.err != nil {
		l.problem = a.err.Error()
		var refused *client.Problem
		if !errors.As(a.err, &refused) {
			l.problem += "; it is asked again"
		}
		return
	}
	l.last = a.top
}

// draw shows the last answer, and which keys there are.
func (l *lookout) draw() error {
	width, height := l.screen.size()
	lines := l.last.lines(width)
	if l.problem != "" {
		lines[0] = "NOT OF NOW: " + orDash(l.problem)
	}
	title := l.last.titleLine()
	lines = lines[:min(len(lines), max(height-1, 1))]
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	help := "Q quit  sort:"
	for _, o := range topOrders {
		mark := ""
		if string(l.order) == o.word {
			mark = "*"
		}
		help += " " + string(o.key) + " " + o.what + mark
	}
	if height > 1 {
		lines = append(lines, help)
	}
	return l.screen.draw(lines, title)
}

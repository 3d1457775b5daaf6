package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// most bounds the whole demo, what goes wrong included; takedown is not in it.
const most = 56 * time.Second

// Run shows the demo on out. It returns nil only if every claim was checked at
// the far ends and held, else an error that names those that did not. Nothing
// is left behind, also when ctx ends early.
func Run(ctx context.Context, out io.Writer) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("the demo makes network namespaces and needs root: run it as root")
	}
	// A closed terminal or pipe ends the demo, but not before it has cleaned up.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	broken := make(chan os.Signal, 1) // connections break too: only the write's error tells
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	bounded, cancel := context.WithTimeout(ctx, most)
	defer cancel()

	began := time.Now()
	r := newReport(out, stop)
	s := &stage{report: r}
	defer func() {
		r.note("taking everything down")
		err = errors.Join(err, s.close())
		if err == nil {
			r.verdict("All %d claims hold, each by the far ends' own count (%.0f s).", len(claims), time.Since(began).Seconds())
		}
	}()
	if err := s.open(bounded); err != nil {
		return explain(ctx, err)
	}
	var failed []string
	for i, c := range claims {
		if !s.try(bounded, i+1, c) {
			failed = append(failed, fmt.Sprintf("%d (%s)", i+1, c.title))
		}
		if ctx.Err() != nil {
			return explain(ctx, ctx.Err())
		}
	}
	if len(failed) > 0 {
		s.showLog()
		return fmt.Errorf("%d of %d claims did not hold: %s", len(failed), len(claims), strings.Join(failed, ", "))
	}
	return nil
}

// explain says that the demo was interrupted when that is why err came.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("the demo was interrupted: nothing is proved")
	}
	return err
}

// claim is one promise of the gateway.
type claim struct {
	title string
	says  string
	limit time.Duration // it has failed when it takes longer
	try   func(ctx context.Context, s *stage, v *verdict) error
}

var claims = []claim{
	{"blocked before connect", "nothing of a client without a session reaches the internet", 8 * time.Second, blocked},
	{"a web page after it", "a connected client fetches a page through NAT, byte for byte", 6 * time.Second, webPage},
	{"the speed limit", "a plan of 20 Mbit down and 10 Mbit up gives that, and no more", 12 * time.Second, speedLimit},
	{"cut off at the byte", "a plan of 10 MB ends at its last byte, both directions together", 12 * time.Second, dataPlan},
	{"chaining", "the next plan takes over where one is used up, with its own speed and no packet lost", 14 * time.Second, chaining},
	{"pause and resume", "disconnect keeps the rest of a plan of 4 seconds, connect goes on with it", 14 * time.Second, pauseAndResume},
	{"the end at the second", "a plan of 5 seconds ends after 5 seconds", 10 * time.Second, timePlan},
	{"kill -9 of control", "a download does not notice that the deciding process is killed", 14 * time.Second, killControl},
	{"the bill", "what is billed is what the far ends counted, to the byte", 5 * time.Second, theBill},
}

package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// report is what a person reads. On a terminal waits show a bar; elsewhere
// every wait is one line.
type report struct {
	out  io.Writer
	live bool
	gone func() // called when nobody reads any more
}

func newReport(out io.Writer, gone func()) *report {
	f, ok := out.(*os.File)
	return &report{out, ok && term.IsTerminal(int(f.Fd())), gone}
}

func (r *report) line(format string, args ...any) {
	if _, err := fmt.Fprintf(r.out, format+"\n", args...); err != nil {
		r.gone()
	}
}

// note says what is being done.
func (r *report) note(what string) { r.line("  ... %s", what) }

// verdict is a line that stands out.
func (r *report) verdict(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if r.live {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	r.line("%s", text)
}

// progress begins a wait until something has reached total.
func (r *report) progress(what string, total int64) *progress {
	if !r.live {
		r.note(what)
		return &progress{}
	}
	return &progress{progressbar.NewOptions64(total, progressbar.OptionSetWriter(r.out), progressbar.OptionSetWidth(30),
		progressbar.OptionSetDescription("  ... "+what), progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))}
}

// progress is how far a wait has come.
type progress struct{ bar *progressbar.ProgressBar } // nil: not on a terminal

func (p *progress) reach(n int64) {
	if p.bar != nil {
		_ = p.bar.Set64(min(n, p.bar.GetMax64()-1)) // the last step is done's
	}
}

func (p *progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// verdict collects what was seen of one claim.
type verdict struct {
	report *report
	seen   int
	wrong  []string
}

// saw prints one observation, and notes whether it is as claimed.
func (v *verdict) saw(right bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	v.seen++
	mark := "ok"
	if !right {
		mark = "WRONG"
		v.wrong = append(v.wrong, text)
	}
	v.report.line("  %-5s %s", mark, text)
}

// holds prints and returns the verdict; err is why it could not be tried to
// its end.
func (v *verdict) holds(err error) bool {
	if err != nil {
		v.saw(false, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if len(v.wrong) == 0 && v.seen > 0 {
		v.report.verdict("  holds")
		return true
	}
	v.report.verdict("  DOES NOT HOLD: %s", strings.Join(v.wrong, "; "))
	return false
}

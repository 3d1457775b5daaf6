package gateway

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/gateway/config"
)

// How much is logged: of one message, and of all together, in a minute. What
// happens more often is counted, and the next line says how many were left out.
const (
	sameLines  = 5
	debugLines = 60 // of one message below info
	allLines   = 120
	logMinute  = time.Minute
)

// voice is how a process's loggers write, which may change while they do.
type voice struct {
	level slog.LevelVar
	json  atomic.Bool
}

func newVoice(c config.Log) *voice {
	v := new(voice)
	v.set(c)
	return v
}

// set has the loggers write as the config says from the next line on.
func (v *voice) set(c config.Log) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked by config
	v.level.Set(level)
	v.json.Store(c.Format == "json")
}

// logger writes to w. reword sees every text; nil changes none.
func (v *voice) logger(w io.Writer, process string, reword func(string) string) *slog.Logger {
	opt := &slog.HandlerOptions{Level: &v.level}
	if reword != nil {
		opt.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if err, ok := a.Value.Any().(error); ok {
				a.Value = slog.StringValue(err.Error())
			}
			if a.Value.Kind() == slog.KindString {
				a.Value = slog.StringValue(reword(a.Value.String()))
			}
			return a
		}
	}
	h := either{v, slog.NewTextHandler(w, opt), slog.NewJSONHandler(w, opt)}
	return slog.New(sparing{h, newRation()}).With("process", process)
}

// logger writes to standard error as the config says, for good.
func logger(c config.Log, process string) *slog.Logger {
	return newVoice(c).logger(os.Stderr, process, nil)
}

// either writes each line as text or as JSON.
type either struct {
	voice      *voice
	text, json slog.Handler
}

func (e either) now() slog.Handler {
	if e.voice.json.Load() {
		return e.json
	}
	return e.text
}

func (e either) Enabled(ctx context.Context, level slog.Level) bool {
	return e.now().Enabled(ctx, level)
}

func (e either) Handle(ctx context.Context, r slog.Record) error { return e.now().Handle(ctx, r) }

func (e either) WithAttrs(attrs []slog.Attr) slog.Handler {
	return either{e.voice, e.text.WithAttrs(attrs), e.json.WithAttrs(attrs)}
}

func (e either) WithGroup(name string) slog.Handler {
	return either{e.voice, e.text.WithGroup(name), e.json.WithGroup(name)}
}

// sparing is a handler that no flood of events makes talkative.
type sparing struct {
	slog.Handler
	ration *ration // shared by all that are derived from it
}

func (s sparing) Handle(ctx context.Context, r slog.Record) error {
	leftOut, ok := s.ration.take(r.Message, r.Level, r.Time)
	if !ok {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.Add("left_out", leftOut)
	}
	return s.Handler.Handle(ctx, r)
}

func (s sparing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sparing{s.Handler.WithAttrs(attrs), s.ration}
}

func (s sparing) WithGroup(name string) slog.Handler {
	return sparing{s.Handler.WithGroup(name), s.ration}
}

// ration counts lines by message.
type ration struct {
	mu   sync.Mutex
	all  spent
	each map[string]*spent // never more than allLines
}

// spent is what was used of a minute.
type spent struct {
	since   time.Time
	lines   int
	leftOut int
}

func newRation() *ration { return &ration{each: map[string]*spent{}} }

// take says whether a line may be written, and how many of its message were
// left out before it.
func (n *ration) take(message string, level slog.Level, now time.Time) (leftOut int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all.turn(now)
	e := n.each[message]
	if e == nil {
		if n.all.lines >= allLines {
			return 0, false
		}
		n.forget(now)
		e = &spent{since: now}
		n.each[message] = e
	}
	e.turn(now)
	most := sameLines
	if level < slog.LevelInfo {
		most = debugLines
	}
	if e.lines >= most || n.all.lines >= allLines {
		e.leftOut++
		return 0, false
	}
	e.lines++
	n.all.lines++
	leftOut, e.leftOut = e.leftOut, 0
	return leftOut, true
}

// turn begins a new minute when one is over.
func (s *spent) turn(now time.Time) {
	if d := now.Sub(s.since); d >= logMinute || d < 0 { // the wall clock may be set
		s.since, s.lines = now, 0
	}
}

// forget drops messages that were not heard for a minute, so that ever new ones
// do not fill the memory.
func (n *ration) forget(now time.Time) {
	if len(n.each) < allLines {
		return
	}
	for message, e := range n.each {
		if now.Sub(e.since) >= logMinute {
			delete(n.each, message)
		}
	}
}

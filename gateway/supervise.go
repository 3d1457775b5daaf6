package gateway

import (
	"context"
	"time"
)

// supervise keeps one child running until ctx ends: prepare comes before its
// start and may take long, begin gives it its order.
func (k *keeper) supervise(ctx context.Context, p *process, prepare func(context.Context) error, begin func() error,
	patience func() time.Duration) {
	for p.rest(ctx, nil) {
		if err := prepare(ctx); err != nil {
			if ctx.Err() == nil {
				k.log.Error("start child", "child", p.word, "error", err)
				k.hear(p, message{Failed: err.Error()})
			}
			continue
		}
		if !k.launch(p, begin) {
			continue
		}
		done := make(chan struct{})
		var end error
		go func() { end = p.wait(); close(done) }()
		k.attend(ctx, p, done, nil)
		if ctx.Err() != nil {
			p.stop(done, patience())
			return
		}
		<-done
		k.ended(p, end)
	}
}

// launch starts a child and gives it its order; false when it could not be
// started. A child without an order ends by itself.
func (k *keeper) launch(p *process, begin func() error) bool {
	k.mu.Lock()
	p.said = ""
	err := p.start()
	started := err == nil
	if started {
		if err = begin(); err != nil {
			p.wire.close()
		}
	}
	k.mu.Unlock()
	k.tell()
	if err != nil {
		k.log.Error("start child", "child", p.word, "error", err)
		k.hear(p, message{Failed: err.Error()})
	}
	return started
}

// attend takes in what a child says until it ends, ctx ends or again is asked for.
func (k *keeper) attend(ctx context.Context, p *process, done <-chan struct{}, again <-chan struct{}) {
	messages := p.messages
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			for m := range p.messages { // its last words
				k.hear(p, m)
			}
			return
		case <-again:
			return
		case <-p.pulse:
		case m, ok := <-messages:
			if !ok {
				messages = nil // it ends, or is ended with all others
			}
			k.hear(p, m)
		}
	}
}

// ended notes that a child ended by itself.
func (k *keeper) ended(p *process, end error) {
	k.mu.Lock()
	said := p.said
	p.ends = append(p.ends[max(len(p.ends)-often+1, 0):], k.clock.Now())
	if p == &k.control {
		k.said = ""
	}
	k.mu.Unlock()
	k.log.Warn("child ended", "child", p.word, "error", end, "said", said, "lasted", time.Since(p.started).Round(time.Millisecond))
	k.stir()
}

// hear takes in what a child says.
func (k *keeper) hear(p *process, m message) {
	switch {
	case m.Ready:
		if m.Open != "" {
			k.log.Warn("child is not shut in", "child", p.word, "because", m.Open)
		}
		k.mu.Lock()
		p.open = m.Open
		k.mu.Unlock()
		k.isReady(p)
	case m.Reload != 0:
		select {
		case k.asked <- m.Reload:
		default: // it asks one by one: nobody waits any more
		}
	case m.Verdict != "":
		k.mu.Lock()
		k.said = m.Verdict
		k.mu.Unlock()
		k.stir()
	case m.Failed != "":
		k.mu.Lock()
		p.failed, p.said = m.Failed, m.Failed
		k.mu.Unlock()
		k.tell()
	}
}

// isReady notes that a child serves; when forward and control do, so does the
// gateway.
func (k *keeper) isReady(p *process) {
	k.mu.Lock()
	p.failed = ""
	k.readyForward = k.readyForward || p == &k.forward
	k.readyControl = k.readyControl || p == &k.control
	first := k.readyForward && k.readyControl
	if first {
		select {
		case <-k.announced:
			first = false
		default:
			close(k.announced)
		}
	}
	k.mu.Unlock()
	k.tell()
	if first {
		k.log.Info("ready", "lan", k.cfg.LAN.Port(), "wan", k.cfg.WAN.Port(), "api", k.cfg.API.Socket)
	}
}

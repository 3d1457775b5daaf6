package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// noStall is the longest pause of a download that nobody notices.
const noStall = 500 * time.Millisecond

// killControl kills the deciding process during a download.
func killControl(ctx context.Context, s *stage, v *verdict) error {
	const size, rate = 12_000_000, 3_000_000 // bytes, bytes per second
	id, err := s.sell(ctx, plan{Type: "time", TimeSecs: 600, DownMbits: 100, UpMbits: 100})
	if err != nil {
		return err
	}
	m := s.measure()
	if err := s.api.connect(ctx); err != nil {
		return err
	}
	numbered, err := s.client.stream(200, time.Millisecond)
	if err != nil {
		return err
	}
	defer numbered.end()
	came := make(chan fetched, 1)
	go func() { came <- s.client.fetch(ctx, fmt.Sprintf("/data?bytes=%d&rate=%d", size, rate)) }()
	if err := s.wait(ctx, "a download and a stream of 1000 numbered packets a second are running", 1200*time.Millisecond); err != nil {
		return err
	}
	killed, err := s.control(ctx)
	if err != nil {
		return err
	}
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill control: %w", err)
	}
	s.report.note(fmt.Sprintf("kill -9 of control, process %d; the download goes on", killed))
	got := <-came
	if got.err != nil {
		return fmt.Errorf("download: %w", got.err)
	}
	if err := numbered.halt(ctx); err != nil {
		return err
	}
	again, err := s.awaitControl(ctx, killed)
	if err != nil {
		return err
	}
	v.saw(again != killed && !s.gateway.isControl(killed), "control is back as process %d", again)
	want := sha256.New()
	_, _ = io.Copy(want, s.internet.data(size))
	v.saw(bytes.Equal(got.sum, want.Sum(nil)), "the download is whole: checksum %x, want %x", got.sum[:4], want.Sum(nil)[:4])
	v.saw(got.stall < noStall, "its longest pause was %d ms, want less than %d", got.stall.Milliseconds(), noStall.Milliseconds())
	s.sawAll(v, numbered)
	if err := s.api.disconnect(ctx); err != nil {
		return err
	}
	b, err := s.account(ctx, "kill -9 of control", m, id)
	if err != nil {
		return err
	}
	v.saw(b.right(), "billed are %s bytes up and %s down, the far ends counted %s and %s",
		thousands(b.billedUp), thousands(b.billedDown), thousands(b.up), thousands(b.down))
	return nil
}

// control is the process that decides, as the gateway says and as it is.
func (s *stage) control(ctx context.Context) (pid int, err error) {
	now, err := s.api.status(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range now.Processes {
		if p.Name == "control" && s.gateway.isControl(p.PID) {
			return p.PID, nil
		}
	}
	return 0, errors.New("control is not among the gateway's processes")
}

// awaitControl waits until another process than the killed one decides.
func (s *stage) awaitControl(ctx context.Context, killed int) (int, error) {
	for {
		if pid, err := s.control(ctx); err == nil && pid != killed {
			return pid, nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return 0, fmt.Errorf("control is not back: %w", err)
		}
	}
}

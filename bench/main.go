package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench measures as the flags say and leaves nothing behind but the report.
func bench(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	binary := flags.String("binary", "bin/gatewayd", "gatewayd's `file`")
	out := flags.String("out", "bench/out", "`directory` for bench.json, bench.png and bench.svg")
	repeats := flags.Int("repeats", 5, "how often each figure is measured on each side")
	lasts := flags.Duration("time", 3*time.Second, "how long a bulk run lasts, whole seconds")
	quick := flags.Bool("quick", false, "2 repeats of 1s, where -repeats and -time do not say otherwise")
	congestion := flags.String("congestion", "cubic", "congestion control `name` of the TCP that is measured")
	only := flags.String("only", "", "only figures whose key matches this `pattern`")
	if err := flags.Parse(args); err != nil {
		return errors.Join(flag.ErrHelp, err)
	}
	if *quick {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["repeats"] {
			*repeats = 2
		}
		if !given["time"] {
			*lasts = time.Second
		}
	}
	list, err := chosen(*only, *congestion)
	if err != nil {
		return err
	}
	if *repeats < 1 || *lasts < time.Second {
		return errors.New("there must be at least one repeat, and a run lasts at least 1s")
	}
	file, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("%w; make build makes it", err)
	}

	r := &report{Started: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(), Binary: file, Congestion: *congestion, Repeats: *repeats, Voids: []void{}}
	s := &series{repeats: *repeats, lasts: *lasts, say: os.Stderr}
	unproven := measureBoth(ctx, s, file, list)
	if unproven != nil && !errors.Is(unproven, errVoid) {
		return unproven
	}
	for i := range s.results {
		r.add(&s.results[i])
	}
	r.Voids = append(r.Voids, s.voids...)
	r.Took = time.Since(r.Started).Round(time.Second).Seconds()
	if err := r.table(os.Stdout); err != nil {
		return err
	}
	return errors.Join(unproven, r.save(*out))
}

// measureBoth makes both sides, measures and removes them.
func measureBoth(ctx context.Context, s *series, binary string, list []figure) (err error) {
	k, err := newKernel(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.stop()) }()
	d, err := newDaemon(ctx, binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	s.kernel, s.gatewayd = k, d
	return s.measure(ctx, list)
}

// chosen returns the figures whose key matches a pattern.
func chosen(pattern, congestion string) ([]figure, error) {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	var list []figure
	for _, f := range figures(congestion) {
		if match.MatchString(f.key) {
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("-only %s: no figure has such a key", pattern)
	}
	return list, nil
}

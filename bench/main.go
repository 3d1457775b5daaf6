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
	"slices"
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
	out := flags.String("out", "bench/out", "`directory` for bench.json and bench.html")
	repeats := flags.Int("repeats", 5, "how often each trial is made on each side")
	lasts := flags.Duration("time", time.Second, "how long a run lasts, whole seconds")
	quick := flags.Bool("quick", false, "the key figures, and 2 repeats where -repeats does not say otherwise")
	shaping := flags.Bool("shaping", false, "all that is shaped, and nothing else, in runs of 20 s")
	congestion := flags.String("congestion", "cubic", "congestion control `name` of the TCP that is measured")
	only := flags.String("only", "", "only trials whose key matches this `pattern`")
	if err := flags.Parse(args); err != nil {
		return errors.Join(flag.ErrHelp, err)
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if *quick && !given["repeats"] {
		*repeats = 2
	}
	list, err := chosen(*only, *congestion, *quick, *shaping)
	if err != nil {
		return err
	}
	shapes := length{1, 10 * time.Second}
	if *shaping {
		shapes.lasts *= 2
	}
	if given["repeats"] {
		shapes.repeats = *repeats
	}
	if given["time"] {
		shapes.lasts = *lasts
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

	r := &report{Started: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(), Binary: file,
		Congestion: *congestion, Repeats: *repeats, Lasts: lasts.Seconds(), ShapedRepeats: shapes.repeats, ShapedLasts: shapes.lasts.Seconds(), Senders: offers(), Voids: []void{}}
	senders := &choices{offers: r.Senders, hasty: *quick, made: []choice{}, try: try}
	var unproven error
	for _, s := range settings {
		err := r.phase(ctx, s, file, &series{length: length{*repeats, *lasts}, shapes: shapes, say: os.Stderr, once: once, choices: senders}, of(list, s))
		if err != nil && !errors.Is(err, errVoid) {
			return err
		}
		unproven = errors.Join(unproven, err)
	}
	r.Choices = senders.made
	r.Took = time.Since(r.Started).Round(time.Second).Seconds()
	if err := r.table(os.Stdout); err != nil {
		return err
	}
	return errors.Join(unproven, r.save(*out))
}

// phase makes the sides of a setting, measures its trials and removes the sides.
func (r *report) phase(ctx context.Context, s setting, binary string, run *series, list []trial) (err error) {
	if len(list) == 0 {
		return nil
	}
	defer func() {
		for _, sd := range run.sides {
			err = errors.Join(err, sd.stop())
		}
	}()
	kinds := s.sides
	if kinds == nil {
		kinds = kernels
	}
	for _, kind := range kinds {
		if kind == stock && !slices.ContainsFunc(list, func(t trial) bool { return t.stock }) {
			continue
		}
		fmt.Fprintf(run.say, "%s: making the %s ", s.title, kind)
		begin := time.Now()
		sd, err := r.make(ctx, kind, s, binary)
		if err != nil {
			return err
		}
		fmt.Fprintf(run.say, "took %.1f s\n", time.Since(begin).Seconds())
		run.sides = append(run.sides, sd)
	}
	if err := settle(ctx); err != nil {
		return err
	}
	unproven := run.measure(ctx, list)
	if unproven != nil && !errors.Is(unproven, errVoid) {
		return unproven
	}
	for _, one := range run.results {
		r.add(one)
	}
	r.Voids = append(r.Voids, run.voids...)
	for _, sd := range run.sides {
		if d, ours := sd.(*daemon); ours {
			bytes, err := pss(d.process.cmd.Process.Pid)
			if err != nil {
				return errors.Join(unproven, err)
			}
			r.Memory = append(r.Memory, memory{s.title, d.name(), "Pss of all its processes after the trials", float64(bytes) / 1e6})
		}
	}
	return unproven
}

// make makes a side and, of a kernel, notes what it holds since.
func (r *report) make(ctx context.Context, kind string, s setting, binary string) (side, error) {
	if kind == ourselves || kind == routed {
		return newDaemon(ctx, binary, kind, s)
	}
	before, err := kernelHolds()
	if err != nil {
		return nil, err
	}
	k, err := newKernel(ctx, kind, s)
	if err != nil {
		return nil, err
	}
	after, err := kernelHolds()
	r.Memory = append(r.Memory, memory{s.title, kind, "slabs, per-CPU and vmalloc grew so much while it was made, with its three namespaces",
		(float64(after) - float64(before)) / 1e6})
	if err != nil {
		err = errors.Join(err, k.stop())
	}
	return k, err
}

// chosen returns the trials whose key matches a pattern: those of a quick run, all
// that are shaped, or else those that are not rare.
func chosen(pattern, congestion string, quick, shaping bool) ([]trial, error) {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	var list []trial
	for _, t := range trials(congestion) {
		if !match.MatchString(t.key) || quick && !t.quick || shaping && !t.shapes || !shaping && t.rare {
			continue
		}
		t.stock = t.stock && !quick
		list = append(list, t)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("-only %s: no trial has such a key", pattern)
	}
	return list, nil
}

// of are the trials of a setting.
func of(list []trial, s setting) (own []trial) {
	for _, t := range list {
		if t.setting.key == s.key {
			own = append(own, t)
		}
	}
	return own
}

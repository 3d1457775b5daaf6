package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// busy is how long the machine's cores have worked since it started, for whomever,
// from /proc/stat: neither idle nor waiting for a disk nor taken by the host.
func busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return readBusy(line)
}

// readBusy reads /proc/stat's first line: cpu user nice system idle iowait irq
// softirq steal, in ticks of 10 ms.
func readBusy(line string) (ticked time.Duration, err error) {
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read /proc/stat's line %q", line)
	}
	for _, field := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseInt(fields[field], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat's line %q: %w", line, err)
		}
		ticked += time.Duration(n) * 10 * time.Millisecond
	}
	return ticked, nil
}

// A span is what the machine and the far ends did meanwhile.
type span struct {
	begin   time.Time
	busy    time.Duration
	arrived arrival
}

// now begins a span.
func (l *lab) now() (s span, err error) {
	var problem error
	if s.arrived.Up, s.arrived.Down, err = l.arrived(); err == nil {
		s.busy, problem = busy()
	}
	s.begin = time.Now()
	return s, errors.Join(err, problem)
}

// until ends a span: how long it lasted, how long cores worked and what arrived.
func (l *lab) until(s span) (lasted, worked time.Duration, a arrival, err error) {
	end, err := l.now()
	if err != nil {
		return 0, 0, a, err
	}
	return end.begin.Sub(s.begin), end.busy - s.busy, arrival{end.arrived.Up.since(s.arrived.Up), end.arrived.Down.since(s.arrived.Down)}, nil
}

// Memory is what a side holds, in one setting.
type memory struct {
	Setting string  `json:"setting"`
	Side    string  `json:"side"`
	Holds   string  `json:"holds"` // what was counted
	MB      float64 `json:"mb"`
}

// kernelHolds is the kernel's own memory for tables, classes and queues, bytes:
// slabs, per-CPU and vmalloc.
func kernelHolds() (bytes uint64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if key != "Slab" && key != "Percpu" && key != "VmallocUsed" {
			continue
		}
		kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/meminfo's line %q: %w", line, err)
		}
		bytes += kb << 10
	}
	return bytes, nil
}

// pss is the share of memory of a process and of all that it started, bytes.
func pss(pid int) (bytes uint64, err error) {
	tree, err := family(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range tree {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", child))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			var kb uint64
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kb); n == 1 {
				bytes += kb << 10
			}
		}
	}
	return bytes, nil
}

// cpu is how long a process and all that it started have run, in ticks of 10 ms.
func cpu(pid int) (used time.Duration, err error) {
	tree, err := family(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range tree {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err != nil {
			return 0, err
		}
		n, err := readUsed(string(text))
		if err != nil {
			return 0, fmt.Errorf("read /proc/%d/stat: %w", child, err)
		}
		used += n
	}
	return used, nil
}

// readUsed reads utime and stime of /proc/PID/stat, in ticks of 10 ms: the 14th and
// the 15th field, of which the second may have spaces in brackets.
func readUsed(text string) (used time.Duration, err error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%d fields after the name", len(fields))
	}
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		used += time.Duration(n) * 10 * time.Millisecond
	}
	return used, nil
}

// family are a process and all that it started.
func family(pid int) (tree []int, err error) {
	parents, err := parents()
	for child := range parents {
		ancestor := child
		for ancestor != pid && ancestor > 1 {
			ancestor = parents[ancestor]
		}
		if ancestor == pid {
			tree = append(tree, child)
		}
	}
	return tree, err
}

// parents are all processes' parents, by process.
func parents() (map[int]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := map[int]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var state string
		_, after, _ := strings.Cut(string(text[max(strings.LastIndexByte(string(text), ')'), 0):]), ") ")
		_, err1 := fmt.Sscan(string(text), &pid)
		_, err2 := fmt.Sscan(after, &state, &parent)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		all[pid] = parent
	}
	return all, nil
}

// settle waits until the machine's cores have little to do.
func settle(ctx context.Context) error {
	for range 8 {
		before, err := busy()
		if err != nil {
			return err
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
		after, err := busy()
		if err != nil {
			return err
		}
		if after-before < 50*time.Millisecond {
			return nil
		}
	}
	return nil
}

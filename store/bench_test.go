package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatewayd/store/client"
)

func BenchmarkGet(b *testing.B) {
	c := client.New()
	defer c.Close()
	startChild(b, c, b.TempDir())
	batchOf(b, c, record("key", "a value of a plain size, which is about what a session takes"))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Get(context.Background(), []byte("key")); err != nil {
			b.Fatal(err)
		}
	}
}

// One caller after another pays one sync each; callers at once share one. Pss is that
// of the process after the work.
func BenchmarkBatch(b *testing.B) {
	for _, callers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			c := client.New()
			defer c.Close()
			child := startChild(b, c, b.TempDir())
			batchOf(b, c, record("key", "begin"))
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						err := c.Batch(context.Background(), []client.Record{
							record(fmt.Sprintf("session/%d", i%1000), "a value of a plain size, which is about what a session takes"),
							record(fmt.Sprintf("ledger/%d", i), "one line")})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(proportionalSet(b, child.Process.Pid)), "B-Pss")
		})
	}
}

// The first answer of a process on an empty directory, and the memory of the
// process then, in bytes: Pss is its fair share of what it has in memory.
func BenchmarkStart(b *testing.B) {
	var pss int64
	for b.Loop() {
		c := client.New()
		child := startChild(b, c, b.TempDir())
		if _, err := c.Health(context.Background()); err != nil {
			b.Fatal(err)
		}
		pss = proportionalSet(b, child.Process.Pid)
		c.Close()
		child.Process.Kill()
		child.Wait()
	}
	b.ReportMetric(float64(pss), "B-Pss")
}

// proportionalSet reads the Pss of a process, in bytes.
func proportionalSet(b *testing.B, pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Skip(err)
	}
	var kb int64
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	b.Fatal("smaps_rollup has no Pss")
	return 0
}

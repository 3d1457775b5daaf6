package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/store/client"
)

// The faults of a card, on a real one: an ext4 of 40 MB in a file. Each test runs
// again in a mount namespace of its own, which takes the card with it:
//
//	test process ──▶ the same test, own mounts ──▶ store process
//	                       │ fills, freezes, cuts       │
//	                       └───────▶ ext4 on loop ◀─────┘

// ownMounts, in the environment, says that this process has mounts of its own.
const ownMounts = "STORE_TEST_OWN_MOUNTS"

const cardSize = 40 << 20

// onCard runs f in a process with mounts of its own, with an empty card.
func onCard(t *testing.T, f func(card *card)) { onCardOf(t, "ext4", cardSize, f) }

// onCardOf is onCard with another file system and size, in bytes.
func onCardOf(t *testing.T, system string, size int64, f func(card *card)) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a file system: needs root")
	}
	mkfs, err := exec.LookPath("mkfs." + system)
	if err != nil {
		t.Fatalf("%v: `make deps` installs it", err)
	}
	t.Parallel() // it waits for a disk, most of the time
	if os.Getenv(ownMounts) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), ownMounts+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); errors.Is(err, unix.EPERM) {
			t.Skipf("a container without CAP_SYS_ADMIN has no mounts of its own: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		t.Logf("%s", out.String())
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &card{t: t, image: filepath.Join(dir, "image"), dir: filepath.Join(dir, "card")}
	if err := errors.Join(os.Mkdir(c.dir, 0o700), os.WriteFile(c.image, nil, 0o600), os.Truncate(c.image, size)); err != nil {
		t.Fatal(err)
	}
	c.run(mkfs, "-q", c.image)
	c.insert()
	defer c.remove()
	f(c)
}

// card is a small ext4 that can be taken out, filled, frozen and cut from its power.
type card struct {
	t          *testing.T
	image, dir string
}

func (c *card) run(name string, arg ...string) {
	c.t.Helper()
	if out, err := exec.Command(name, arg...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func (c *card) insert() { c.run("mount", "-o", "loop", c.image, c.dir) }
func (c *card) remove() { c.run("umount", c.dir) }

// Requests of ioctl(2), from linux/fs.h, linux/ext4.h and xfs_fs.h.
const (
	fiFreeze     = 0xc0045877
	fiThaw       = 0xc0045878
	goingDown    = 0x8004587d // of ext4 and of XFS
	withoutFlush = 2          // as a power cut: neither data nor journal is written
)

func (c *card) ioctl(req uint, arg int) {
	c.t.Helper()
	fd, err := unix.Open(c.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetPointerInt(fd, req, arg); err != nil {
		c.t.Fatalf("ioctl %#x: %v", req, err)
	}
}

// fill takes all space that is left.
func (c *card) fill() (path string) {
	path = filepath.Join(c.dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := f.Sync(); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func kill(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
}

// Callers write while the power is cut, again and again on the same card. The next
// start finds all that was acknowledged, by itself, and takes what the cut tore for
// what it is: nothing is said to be damaged.
func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	onCard(t, func(card *card) { cutPower(t, card, tries(50)/2+1) })
}

func TestAPowerCutOnXFSLosesNothingThatWasAcknowledged(t *testing.T) {
	const least = 300 << 20 // what mkfs.xfs makes
	onCardOf(t, "xfs", least, func(card *card) { cutPower(t, card, tries(50)/2) })
}

func cutPower(t *testing.T, card *card, cuts int) {
	const callers = 4
	dir := filepath.Join(card.dir, "store")
	c := client.New()
	defer c.Close()
	var acked [callers]int
	for range cuts {
		child := startChild(t, c, dir)
		check(t, c, child, acked[:])
		var wrote atomic.Int64
		var wg sync.WaitGroup
		ctx := patient(t)
		for i := range callers {
			wg.Go(func() {
				for n := acked[i] + 1; ; n++ {
					value := fmt.Appendf(nil, "%d %0*d", n, rand.N(1500), 0)
					err := c.Batch(ctx, []client.Record{{Key: fmt.Appendf(nil, "first/%d", i), Value: value},
						{Key: fmt.Appendf(nil, "log/%d/%d", i, n), Value: value},
						{Key: fmt.Appendf(nil, "last/%d", i), Value: value}})
					if err != nil {
						return
					}
					acked[i] = n
					wrote.Add(1)
				}
			})
		}
		enough := int64(20 + rand.N(200))
		eventually(t, "enough was written", func() bool { return wrote.Load() >= enough })
		card.ioctl(goingDown, withoutFlush)
		kill(t, child)
		wg.Wait()
		card.remove()
		card.insert()
	}
	child := startChild(t, c, dir)
	check(t, c, child, acked[:])
	if h, err := c.Health(patient(t)); err != nil || h.Notice != "" {
		t.Errorf("health: %+v, %v", h, err)
	}
	t.Logf("%d cuts, %v batches acknowledged, all there", cuts, acked)
	kill(t, child)
}

func TestAFullCardIsSurvivedAndLeft(t *testing.T) {
	onCard(t, func(card *card) {
		dir := filepath.Join(card.dir, "store")
		ctx := patient(t)
		c := client.New()
		defer c.Close()
		child := startChild(t, c, dir)
		batchOf(t, c, record("k", "before"))
		filler := card.fill()

		for _, when := range []string{"while it runs", "after a start on the full card", "and after another"} {
			if err := c.Batch(ctx, []client.Record{record("k", "full")}); !errors.Is(err, client.ErrFull) {
				t.Errorf("%s: a change: %v", when, err)
			}
			if h, err := c.Health(ctx); err != nil || h.OK || h.Why == "" {
				t.Errorf("%s: health: %+v, %v", when, h, err)
			}
			if v, _, err := c.Get(ctx, []byte("k")); err != nil || string(v) != "before" {
				t.Errorf("%s: a read: %q, %v", when, v, err)
			}
			kill(t, child)
			child = startChild(t, c, dir)
		}

		// Someone takes the reserve's space as well: nothing is left to open with.
		os.Remove(filler)
		filler = card.fill()
		kill(t, child)
		child = startChild(t, c, dir)
		if err := c.Batch(ctx, []client.Record{record("k", "full")}); !errors.Is(err, client.ErrFull) {
			t.Errorf("with nothing left: a change: %v", err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for {
			err := c.Batch(ctx, []client.Record{record("k", "after")})
			if err == nil {
				break
			}
			if !errors.Is(err, client.ErrFull) || time.Since(begin) > time.Minute {
				t.Fatalf("%v after space returned: %v", time.Since(begin), err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Logf("selling again %v after space returned", time.Since(begin))
		if !hasReserve(dir) {
			t.Error("the reserve was not made again")
		}
		kill(t, child)
	})
}

// A stalled card answers nothing, and says nothing false when it moves again.
func TestAStalledCardCostsTheDeadline(t *testing.T) {
	onCard(t, func(card *card) {
		c := client.New()
		defer c.Close()
		child := startChild(t, c, filepath.Join(card.dir, "store"))
		batchOf(t, c, record("k", "before"))
		card.ioctl(fiFreeze, 0)
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			if err := c.Batch(ctx, []client.Record{record("k", "stalled")}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a change: %v", err)
			}
			cancel()
		}
		card.ioctl(fiThaw, 0)
		batchOf(t, c, record("k", "after"))
		if v, _, err := c.Get(patient(t), []byte("k")); err != nil || string(v) != "after" {
			t.Errorf("a read: %q, %v", v, err)
		}
		kill(t, child)
	})
}

// The store's own records fill the card up to the guard, in the order of their keys
// and in disorder: its own background work must find room then, and the process must
// live.
func TestTheStoreItselfNeverFillsTheCard(t *testing.T) {
	onCard(t, func(card *card) { fillWithRecords(t, card, func(n int) int { return n }) })
}

func TestTheStoreInDisorderNeverFillsTheCard(t *testing.T) {
	onCard(t, func(card *card) { fillWithRecords(t, card, func(n int) int { return n * 7919 % 1_000_003 }) })
}

func fillWithRecords(t *testing.T, card *card, number func(int) int) {
	c := client.New()
	defer c.Close()
	child := startChild(t, c, filepath.Join(card.dir, "store"))
	var n, told int // told: how often health was that of a full card, right after a refusal
	var h client.Health
	for refused := 0; refused < 20; {
		value := fmt.Appendf(nil, "%d %08000d", n, 0)
		err := c.Batch(patient(t), []client.Record{{Key: fmt.Appendf(nil, "ledger/%07d", number(n)), Value: value}})
		switch {
		case err == nil:
			n++
		case errors.Is(err, client.ErrFull):
			refused++ // what is flushed and compacted gives space back now and then
			if h, err = c.Health(patient(t)); err != nil {
				t.Fatalf("health: %v", err)
			} else if !h.OK {
				told++
			}
			time.Sleep(100 * time.Millisecond)
		default:
			t.Fatalf("record %d: %v", n, err)
		}
	}
	if told == 0 {
		t.Errorf("20 refusals, and health never said it: %+v", h)
	}
	t.Logf("%d MB of records, %d bytes free, %d of 20 times told", n*8000>>20, h.Free, told)
	if got := len(everything(t, c, "ledger/", 0)); got != n {
		t.Errorf("%d of %d records", got, n)
	}
	kill(t, child)
	child = startChild(t, c, filepath.Join(card.dir, "store"))
	if got := len(everything(t, c, "ledger/", 0)); got != n {
		t.Errorf("after a kill: %d of %d records", got, n)
	}
	kill(t, child)
}

//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cardDir is the mounted card, as gatewayd has it.
func (d *daemon) cardDir() string {
	return fmt.Sprintf("/proc/%d/root%s/store", d.cmd.Process.Pid, d.l.dir)
}

// customers are those who read and change through the API while something is wrong.
type customers struct {
	d       *daemon
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	reads   []time.Duration
	changes []time.Duration
	sold    []int64
	refused []time.Time
}

// use has somebody read and somebody sell, until end.
func (d *daemon) use(id int64) *customers {
	u := &customers{d: d, stop: make(chan struct{})}
	each := func(f func()) {
		u.running.Go(func() {
			for {
				select {
				case <-u.stop:
					return
				case <-time.After(20 * time.Millisecond):
					f()
				}
			}
		})
	}
	paths := []string{"/status", fmt.Sprintf("/sessions/%d", id), "/devices/" + clientMAC}
	n := 0
	each(func() {
		began := time.Now()
		code, err := d.ask("GET", paths[n%len(paths)], "", nil)
		n++
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.reads = append(u.reads, time.Since(began)); code != http.StatusOK {
			d.t.Errorf("a read was answered %d: %v", code, err)
		}
	})
	each(func() {
		var v session
		began := time.Now()
		code, err := d.ask("POST", "/devices/"+clientMAC+"/sessions", anHour, &v)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.changes = append(u.changes, time.Since(began))
		switch code {
		case http.StatusCreated:
			u.sold = append(u.sold, v.ID)
		case http.StatusServiceUnavailable:
			u.refused = append(u.refused, time.Now())
		default:
			d.t.Errorf("a change was answered %d: %v", code, err)
		}
	})
	return u
}

// refusal waits for a change to be refused after a moment, and returns how long it took.
func (u *customers) refusal(since time.Time) (took time.Duration) {
	u.d.t.Helper()
	eventually(u.d.t, 2*soon, "changes are refused", func() error {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, at := range u.refused {
			if at.After(since) {
				took = at.Sub(since)
				return nil
			}
		}
		return errNotYet
	})
	return took
}

// sale waits for a change to be accepted from now on, and returns how long it took.
func (u *customers) sale() time.Duration {
	u.d.t.Helper()
	u.mu.Lock()
	before, began := len(u.sold), time.Now()
	u.mu.Unlock()
	eventually(u.d.t, 4*soon, "changes are accepted", func() error {
		u.mu.Lock()
		defer u.mu.Unlock()
		if len(u.sold) == before {
			return errNotYet
		}
		return nil
	})
	return time.Since(began)
}

// end ends them and gives the figures: nobody waited for long.
func (u *customers) end(fault string) {
	t := u.d.t
	t.Helper()
	close(u.stop)
	u.running.Wait()
	slices.Sort(u.reads)
	slices.Sort(u.changes)
	p99, worst := u.reads[len(u.reads)*99/100], u.changes[len(u.changes)-1]
	figureOf(t, fault+": API reads, p99", p99)
	figureOf(t, fault+": the slowest answer to a change", worst)
	if p99 > 5*time.Second || worst > 25*time.Second {
		t.Errorf("reads took %v, changes %v, want 1 and 5 s at most", p99, worst)
	}
	t.Logf("%d reads, %d changes of which %d were accepted", len(u.reads), len(u.changes), len(u.sold))
}

// has looks whether everything that was acknowledged is there.
func (u *customers) has(d *daemon) {
	u.d.t.Helper()
	for _, id := range u.sold {
		if code, err := d.ask("GET", fmt.Sprintf("/sessions/%d", id), "", nil); code != http.StatusOK {
			u.d.t.Errorf("session %d was acknowledged, and is %d: %v", id, code, err)
		}
	}
}

// steady ends a stream that began to flow at a moment and says that nothing stopped it.
func (s *stream) steady(began time.Time, fault string) {
	s.t.Helper()
	sent, arrived := s.end()
	gap := s.gap(began)
	figureOf(s.t, fault+": the longest gap in forwarding", gap)
	if gap > 2*time.Second || sent != arrived {
		s.t.Errorf("%d of %d datagrams arrived, the longest gap was %v, want 100 ms at most", arrived, sent, gap)
	}
}

// sellsFromCard starts gatewayd with its store on a card of 40 MB, with a client's
// stream and somebody who buys and looks, since began.
func (l *lab) sellsFromCard() (d *daemon, v session, s *stream, u *customers, began time.Time) {
	l.t.Helper()
	l.newCard(40 << 20)
	d = l.start()
	v = d.admit(anHour)
	s = l.stream(time.Millisecond, 100)
	s.flows()
	began = time.Now()
	u = d.use(v.ID)
	u.sale()
	return d, v, s, u, began
}

func TestAFullCardStopsOnlySales(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d, v, s, u, began := l.sellsFromCard()
	filler := "/filler"
	l.gateway.run("sh", "-c", "cat /dev/zero >'"+d.cardDir()+filler+"' 2>/dev/null; sync; true")
	figureOf(t, "full card: noticed after", u.refusal(time.Now()))
	d.degradedBy("nothing can be sold or changed", "full")
	pid := d.kill("store")
	eventually(t, 2*soon, "the store is back and says so", func() error {
		if now := d.children()["store"]; now == 0 || now == pid {
			return errNotYet
		}
		return nil
	})
	u.refusal(time.Now())
	s.steady(began, "full card")
	u.end("full card")
	d.stop()

	d = l.start() // on the full card
	d.degradedBy("nothing can be sold or changed", "full")
	u.has(d)
	again := d.use(v.ID)
	again.refusal(time.Now())
	check(t, os.Remove(d.cardDir()+filler))
	took := again.sale()
	figureOf(t, "full card: selling again after space returned", took)
	if took > 50*time.Second {
		t.Errorf("selling again after %v, want 10 s at most", took)
	}
	again.end("full card at the start")
	d.sound()
	u.has(d)
	again.has(d)
}

func TestAStalledCardStopsOnlyChanges(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d, _, s, u, began := l.sellsFromCard()
	l.gateway.run("fsfreeze", "-f", d.cardDir())
	thaw := sync.OnceFunc(func() { _, _ = l.gateway.try("fsfreeze", "-u", d.cardDir()) })
	t.Cleanup(thaw)
	frozen := time.Now()
	figureOf(t, "stalled card: the first change refused after", u.refusal(frozen))
	time.Sleep(10*time.Second - time.Since(frozen))
	thaw()
	figureOf(t, "stalled card: a change accepted after it goes on", u.sale())
	s.steady(began, "stalled card")
	u.end("stalled card")
	d.sound()
	u.has(d)
	d.stop()
	d = l.start()
	u.has(d)
}

// A bit of each kind of file flips while gatewayd is away.
func TestADamagedStoreIsMendedAndSaid(t *testing.T) {
	for _, kind := range []string{"*.mem", "MANIFEST", "journal-*", "snapshot-*"} {
		t.Run(strings.Trim(kind, ".*-"), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			d := l.start()
			v := d.admit(anHour)
			u := d.use(v.ID)
			for range 10 {
				u.sale()
			}
			u.end("before")
			d.expected = true
			children := d.children()
			check(t, syscall.Kill(d.cmd.Process.Pid, syscall.SIGSTOP)) // it starts no other store
			d.kill("store")                                            // before it has put its logs in tables
			check(t, syscall.Kill(d.cmd.Process.Pid, syscall.SIGKILL))
			gone(t, children)
			files, err := filepath.Glob(l.dir + "/store/" + kind)
			if err != nil || len(files) == 0 {
				t.Fatalf("no %s: %v", kind, err)
			}
			path := files[len(files)-1]
			b, err := os.ReadFile(path)
			check(t, err)
			at := 40
			if kind == "MANIFEST" {
				at = 10
			}
			b[at] ^= 1
			check(t, os.WriteFile(path, b, 0o600))

			began := time.Now()
			d = l.start()
			u.has(d)
			figureOf(t, "damaged "+kind+": everything is there after", time.Since(began))
			if kind == "*.mem" || kind == "MANIFEST" {
				d.degradedBy("the database was damaged", "nothing is lost", l.dir+"/store/damaged")
				check(t, os.RemoveAll(l.dir+"/store/damaged"))
			}
			d.sound()
			d.sell(anHour)
		})
	}
}

func TestABackupIsRestoredWhileClientsAreOnline(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	s := l.stream(time.Millisecond, 100)
	s.flows()
	file := l.dir + "/saved"
	run := func(want int, say string, args ...string) {
		t.Helper()
		code, out, errs := l.command(append(args, "--socket", l.dir+"/gatewayd.sock")...)
		if code != want || !strings.Contains(out+errs, say) {
			t.Fatalf("gatewayd %s: exit %d\n%s%s\nwant exit %d and %q", strings.Join(args, " "), code, out, errs, want, say)
		}
	}
	saved := d.session(v.ID)
	run(0, "gatewayd restore", "backup", file)
	later := d.sell(anHour)

	whole, err := os.ReadFile(file)
	check(t, err)
	check(t, os.WriteFile(file+".cut", whole[:len(whole)-1], 0o600))
	run(1, "nothing was changed", "restore", file+".cut")
	if now := d.session(v.ID); now.State != "running" {
		t.Errorf("a refused restore, and %+v", now)
	}

	run(0, "restored", "restore", file)
	if code, _ := d.ask("GET", fmt.Sprintf("/sessions/%d", later.ID), "", nil); code != http.StatusNotFound {
		t.Errorf("a session sold after the backup is answered %d", code)
	}
	s.flows() // it ran when the backup was made
	now := d.becomes(v.ID, "running")
	if now.UpBytes < saved.UpBytes || now.StartedAt == nil || !now.StartedAt.Equal(*saved.StartedAt) {
		t.Errorf("%+v was saved, and is %+v", saved, now)
	}
	if next := d.sell(anHour); next.ID <= later.ID {
		t.Errorf("id %d was given away before the restore", next.ID)
	}
	s.end()
	d.sound()
	d.stop()
	d = l.start()
	d.session(v.ID)
	if _, err := os.Stat(l.dir + "/store/restore.partial"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

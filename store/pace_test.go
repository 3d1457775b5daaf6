package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

func hurried(is bool) func() bool { return func() bool { return is } }

func TestAPaceRestsAsLongAsItWorked(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancel(context.Background())
	end()
	for _, row := range []struct {
		name   string
		hurry  bool
		ctx    context.Context
		worked time.Duration
		bytes  int
		rests  time.Duration // at least
		err    error
	}{
		{"a share is followed by as much rest", false, context.Background(), 20 * time.Millisecond, paceLook, 20 * time.Millisecond, nil},
		{"nobody looks at the time for a few bytes", false, context.Background(), time.Hour, paceLook - 1, 0, nil},
		{"who is waited for does not rest", true, context.Background(), time.Hour, paceLook, 0, nil},
		{"the end comes in a rest", false, ended, time.Hour, paceLook, 0, context.Canceled},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := &pace{ctx: row.ctx, hurry: hurried(row.hurry), began: time.Now().Add(-row.worked)}
			began := time.Now()
			if err := p.did(row.bytes); !errors.Is(err, row.err) {
				t.Errorf("it ended with %v, want %v", err, row.err)
			}
			if took := time.Since(began); took < row.rests {
				t.Errorf("it rested %v, want %v", took, row.rests)
			}
		})
	}
}

// A look at all records ends where it rests, when the database is to be closed.
func TestALookAtAllRecordsEndsInARest(t *testing.T) {
	t.Parallel()
	dir, _ := filled(t)
	r := serveDir(t, dir, plenty)
	defer r.end(t)
	for name, look := range map[string]func(ctx context.Context, db *badger.DB, p *pace) error{
		"a snapshot":    r.d.nextSnapshot,
		"the first one": r.d.firstSnapshot,
	} {
		ctx, end := context.WithCancel(context.Background())
		end()
		p := &pace{ctx: ctx, hurry: hurried(false), began: time.Now().Add(-time.Hour)}
		err := r.d.use(func(db *badger.DB) error { return look(context.Background(), db, p) })
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "read back") {
			t.Errorf("%s ended with %v", name, err)
		}
	}
	for range 2 { // one that is ended by lock is begun again
		r.d.segment.Store(r.d.last + 1)
		look, done := r.d.look(context.Background())
		r.d.lock()
		r.d.mu.Unlock()
		if look.Err() == nil {
			t.Error("the look goes on while the database is to be closed")
		}
		done()
	}
}

// Reading all records makes no garbage of them: a collector that comes every few
// megabytes takes a core from the requests.
func TestReadingASnapshotMakesNoGarbage(t *testing.T) {
	const records = 1000
	var made bytes.Buffer
	var keys [records][]byte
	w := newSnapshotWriter(&made, 1, time.Now())
	for n := range records {
		keys[n] = fmt.Appendf(nil, "%06d", n)
		if err := w.add(keys[n], bytes.Repeat([]byte{byte(n)}, 1+n*6)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.end(); err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(3, func() {
		n := 0
		_, err := ReadSnapshot(bytes.NewReader(made.Bytes()), func(r client.Record) error {
			if len(r.Value) != 1+n*6 || r.Value[0] != byte(n) || !bytes.Equal(r.Key, keys[n]) {
				return fmt.Errorf("record %d is %q with %d bytes", n, r.Key, len(r.Value))
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if allocs > records/5 {
		t.Errorf("%d records took %.0f allocations", records, allocs)
	}
}

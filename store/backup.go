package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"gatewayd/store/client"
)

const (
	stagedName = "restore.partial"
	partWait   = 30 * time.Second // for the next part of a backup to be asked for
)

var (
	errOtherBackup = errors.New("another backup was begun")
	errNoBackup    = errors.New("no backup is under way")
	errSlowBackup  = errors.New("the backup was not read on in time")
	errClosing     = errors.New("the store is being closed or opened; begin the backup again")
)

// outflow is the one backup that may be under way: a snapshot on its way to whoever
// asks for its parts.
type outflow struct {
	mu    sync.Mutex
	parts *bufio.Reader // nil: none is under way
	pipe  *io.PipeReader
	timer *time.Timer
	done  chan struct{} // closed when nothing of it runs
}

// end ends the backup that is under way.
func (o *outflow) end(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stop(why)
}

// stop is end with mu held.
func (o *outflow) stop(why error) {
	if o.parts == nil {
		return
	}
	o.timer.Stop()
	o.pipe.CloseWithError(why)
	<-o.done
	o.parts = nil
}

// backup answers OpBackup: the next part of a snapshot that goes nowhere else.
func (d *disk) backup(ctx context.Context, begin bool) (part []byte, more bool, err error) {
	o := &d.outflow
	o.mu.Lock()
	defer o.mu.Unlock()
	if begin {
		o.stop(errOtherBackup)
		d.beginBackup(ctx)
	}
	if o.parts == nil {
		return nil, false, errNoBackup
	}
	part = make([]byte, client.MaxChunk)
	n, err := io.ReadFull(o.parts, part)
	if err == nil {
		o.timer.Reset(partWait)
		_, err = o.parts.Peek(1)
	}
	switch {
	case err == nil:
		return part[:n], true, nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		o.stop(nil)
		return part[:n], false, nil
	}
	o.stop(err)
	return nil, false, fmt.Errorf("read the store: %w", err)
}

// beginBackup starts the goroutine that writes the snapshot, as fast as it is read.
func (d *disk) beginBackup(ctx context.Context) {
	from, to := io.Pipe()
	done := make(chan struct{})
	o := &d.outflow
	o.pipe, o.parts, o.done = from, bufio.NewReaderSize(from, 4096), done
	o.timer = time.AfterFunc(partWait, func() { from.CloseWithError(errSlowBackup) })
	go func() {
		defer close(done)
		to.CloseWithError(d.use(func(db *badger.DB) error {
			txn := db.NewTransaction(false)
			defer txn.Discard()
			_, err := writeSnapshot(txn, d.now(), to, ctx.Err, d.pace(ctx))
			return errors.Join(err, d.scrub(ctx, db))
		}))
	}()
}

// staged is a backup that was sent to be restored.
type staged struct {
	mu    sync.Mutex
	f     *os.File // nil: none
	whole bool
	info  SnapshotInfo
}

// restore answers OpRestore.
func (s *service) restore(ctx context.Context, req client.Request) error {
	st := &s.staged
	st.mu.Lock()
	defer st.mu.Unlock()
	if req.Step == client.StepBegin {
		if err := s.disk.refuses(); err != nil {
			return err
		}
		return st.begin(s.disk.dir)
	}
	if st.f == nil {
		return errors.New("no restore was begun")
	}
	var err error
	switch req.Step {
	case client.StepPart:
		if err = s.disk.spare(s.disk.guard); err == nil {
			_, err = st.f.Write(req.Part)
		}
	case client.StepCheck:
		if _, err = st.f.Seek(0, io.SeekStart); err == nil {
			st.info, err = ReadSnapshot(st.f, func(client.Record) error { return ctx.Err() })
			st.whole = err == nil
		}
	case client.StepCommit:
		if err = errors.New("what was sent has not been checked"); st.whole {
			err = s.disk.restore(ctx, st, req.Records)
		}
	}
	if err != nil || req.Step == client.StepCommit {
		st.drop(s.disk.dir)
	}
	return err
}

// begin forgets what was staged before.
func (st *staged) begin(dir string) (err error) {
	st.drop(dir)
	if dir == "" {
		fd, err := unix.MemfdCreate(stagedName, unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		st.f = os.NewFile(uintptr(fd), stagedName)
		return nil
	}
	st.f, err = os.OpenFile(filepath.Join(dir, stagedName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	return err
}

func (st *staged) drop(dir string) {
	if st.f == nil {
		return
	}
	st.f.Close()
	if dir != "" {
		os.Remove(filepath.Join(dir, stagedName))
	}
	st.f, st.whole = nil, false
}

// restore puts the staged backup, and what is put over it, in the place of all records:
// it becomes the newest snapshot, and the database is made anew from that. From then on a
// power cut changes nothing: the rebuild begins again.
func (d *disk) restore(ctx context.Context, st *staged, over []client.Record) error {
	if err := d.refuses(); err != nil {
		return err
	}
	d.lock()
	defer d.mu.Unlock()
	if d.db == nil {
		return errors.New(d.shutWhy)
	}
	if d.dir == "" {
		return d.refill(st, over)
	}
	marker := filepath.Join(d.dir, rebuildingName)
	if err := writeFile(marker, ""); err != nil {
		return err
	}
	_, err := d.makeGeneration(ctx, nil, func(w io.Writer) (SnapshotInfo, error) {
		to := newSnapshotWriter(w, d.last+1, st.info.Made)
		if err := st.each(over, to.add); err != nil {
			return SnapshotInfo{}, err
		}
		return to.end()
	})
	if err != nil {
		return errors.Join(err, removeFile(marker))
	}
	if err := d.close(); err != nil {
		d.log.Warn("store: closed badly before a restore", "err", err)
	}
	err = os.RemoveAll(filepath.Join(d.dir, damagedName)) // what it says is of no more use
	if err == nil {
		err = d.open(ctx)
	}
	if err == nil && d.db == nil {
		err = errors.New(d.shutWhy)
	}
	if err != nil {
		d.shutWhy = err.Error()
		return err
	}
	d.log.Info("store: a backup was restored", "made", st.info.Made, "records", st.info.Records)
	return nil
}

// each gives f, in the order of their keys, all records of the backup, with over in the
// place of those with its keys.
func (st *staged) each(over []client.Record, f func(key, value []byte) error) error {
	if _, err := st.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	over = slices.SortedFunc(slices.Values(over), func(a, b client.Record) int { return bytes.Compare(a.Key, b.Key) })
	next := func() (err error) {
		if !over[0].Delete {
			err = f(over[0].Key, over[0].Value)
		}
		over = over[1:]
		return err
	}
	_, err := ReadSnapshot(st.f, func(r client.Record) error {
		same := false
		for len(over) > 0 && !same && bytes.Compare(over[0].Key, r.Key) <= 0 {
			same = bytes.Equal(over[0].Key, r.Key)
			if err := next(); err != nil {
				return err
			}
		}
		if same {
			return nil
		}
		return f(r.Key, r.Value)
	})
	for err == nil && len(over) > 0 {
		err = next()
	}
	return err
}

// refill is restore in memory.
func (d *disk) refill(st *staged, over []client.Record) error {
	if err := d.db.DropAll(); err != nil {
		return err
	}
	g := grouped{db: d.db}
	if err := st.each(over, g.add); err != nil {
		return err
	}
	d.last++
	return g.end(d.last)
}

// lock is mu.Lock for what closes the database: what holds mu for long is ended.
func (d *disk) lock() {
	d.outflow.end(errClosing)
	d.endLook()
	d.mu.Lock()
}

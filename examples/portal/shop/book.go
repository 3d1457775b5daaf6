package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// What a change can end with.
var (
	errUnknown = errors.New("there is no such session")
	errDone    = errors.New("this change is here already")
	errOld     = errors.New("a newer change is here already")
	errChanged = errors.New("it has changed meanwhile: read it anew")
	errDisk    = errors.New("it cannot be kept")
)

// book is all sessions, in memory and in one file. A change is in the file
// before it is answered. A real shop has a database in its place.
type book struct {
	file string

	mu       sync.Mutex
	Last     uint64             `json:"last"` // session's number
	Sessions map[string]session `json:"sessions"`
}

func open(file, secret string) (*server, error) {
	b := &book{file: file, Sessions: map[string]session{}}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if secret == "" {
		return nil, errors.New("the secret is empty: write one into its file, such as head -c 24 /dev/urandom | base64")
	}
	return &server{secret, b}, nil
}

func (b *book) get(id string) (session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.Sessions[id]
	if !ok {
		return v, fmt.Errorf("session %q: %w", id, errUnknown)
	}
	return v, nil
}

func (b *book) add(v session) (session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Last++
	v.ID = strconv.FormatUint(b.Last, 10)
	return b.put(v)
}

// change makes of a session what f returns; nothing if f fails.
func (b *book) change(id string, f func(session) (session, error)) (session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, ok := b.Sessions[id]
	if !ok {
		return now, fmt.Errorf("session %q: %w", id, errUnknown)
	}
	v, err := f(now)
	if err != nil {
		return now, err
	}
	return b.put(v)
}

// put keeps a session as its next version. mu is held.
func (b *book) put(v session) (session, error) {
	if err := v.check(); err != nil {
		return v, err
	}
	before, had := b.Sessions[v.ID]
	v.Version = before.Version + 1
	b.Sessions[v.ID] = v
	if err := b.write(); err != nil {
		if delete(b.Sessions, v.ID); had {
			b.Sessions[v.ID] = before
		}
		return v, fmt.Errorf("%w: %w", errDisk, err)
	}
	return v, nil
}

// write has all in the file, as before or as now, also after a power cut.
func (b *book) write() error {
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	next, err := os.OpenFile(b.file+".next", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), b.file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(b.file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

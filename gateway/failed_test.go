package gateway

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatewayd/gateway/config"
)

func TestAStoreThatCannotStartSaysWhy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	near, far, err := newWire()
	if err != nil {
		t.Fatal(err)
	}
	defer near.close()
	child, err := openWire(far)
	if err != nil {
		t.Fatal(err)
	}
	order := message{Store: &storeOrder{Path: file}}
	order.Store.Log.Level = "error"
	if err := near.send(order, openDir(t, file)); err != nil {
		t.Fatal(err)
	}
	if err := serveWire(child, runStore, func() string { return "" }); err == nil {
		t.Fatal("a store in a file")
	}
	words, _, err := near.receive()
	if err != nil || !strings.Contains(words.Failed, file) {
		t.Fatalf("last words %+v, %v", words, err)
	}

	k := &keeper{cfg: &config.Config{}, inside: &control{}, announced: make(chan struct{})}
	k.store.word = wordStore
	told := func(m message) bool { // the child says m and ends; is the reason in the status?
		k.store.messages = make(chan message, 1)
		k.store.messages <- m
		close(k.store.messages)
		done := make(chan struct{})
		close(done)
		k.attend(t.Context(), &k.store, done, nil)
		return slices.ContainsFunc(k.inside.state.Degraded, func(why string) bool { return strings.Contains(why, file) })
	}
	if !told(words) {
		t.Errorf("the status says %q", k.inside.state.Degraded)
	}
	if told(message{Ready: true}) {
		t.Errorf("the status says %q although it serves", k.inside.state.Degraded)
	}
}

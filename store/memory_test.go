package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

func openMemory(t testing.TB) *client.Client {
	c, closeStore, err := OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeStore)
	return c
}

func record(key, value string) client.Record {
	return client.Record{Key: []byte(key), Value: []byte(value)}
}

// patience is how long a busy machine with a slow disk may take for what should be done
// at once.
const patience = 5 * time.Minute

// patient ends after patience; the deadline that a call has otherwise is shorter.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func batchOf(t testing.TB, c *client.Client, records ...client.Record) {
	t.Helper()
	if err := c.Batch(patient(t), records); err != nil {
		t.Fatal(err)
	}
}

// everything is what the store holds under prefix, read in pages of limit.
func everything(t testing.TB, c *client.Client, prefix string, limit int) (keys []string) {
	t.Helper()
	var after []byte
	for {
		page, more, err := c.Scan(patient(t), []byte(prefix), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			keys = append(keys, string(r.Key))
		}
		if !more {
			return keys
		}
		after = page[len(page)-1].Key
	}
}

func TestGetGivesWhatTheLastBatchLeft(t *testing.T) {
	for _, row := range []struct {
		name    string
		batches [][]client.Record
		want    string
		found   bool
	}{
		{"nothing was written", nil, "", false},
		{"a value", [][]client.Record{{record("k", "1")}}, "1", true},
		{"an empty value", [][]client.Record{{record("k", "")}}, "", true},
		{"a value twice is the value", [][]client.Record{{record("k", "1")}, {record("k", "1")}}, "1", true},
		{"a later value replaces", [][]client.Record{{record("k", "1")}, {record("k", "2")}}, "2", true},
		{"the last of a batch counts", [][]client.Record{{record("k", "1"), record("k", "2")}}, "2", true},
		{"a deleted value is gone", [][]client.Record{{record("k", "1")}, {{Key: []byte("k"), Delete: true}}}, "", false},
		{"a delete of nothing is fine", [][]client.Record{{{Key: []byte("k"), Delete: true}}}, "", false},
		{"a value put after its delete", [][]client.Record{{{Key: []byte("k"), Delete: true}, record("k", "2")}}, "2", true},
		{"another key's value", [][]client.Record{{record("kk", "1"), record("j", "2")}}, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := openMemory(t)
			for _, b := range row.batches {
				batchOf(t, c, b...)
			}
			v, found, err := c.Get(patient(t), []byte("k"))
			if err != nil || string(v) != row.want || found != row.found {
				t.Fatalf("got %q, %v, %v", v, found, err)
			}
		})
	}
}

func TestAnyKeyIsTheCallers(t *testing.T) {
	c := openMemory(t)
	for _, key := range []string{"!badger!head", "\x00", "\xff\xff", strings.Repeat("k", client.MaxKey)} {
		batchOf(t, c, record(key, key))
		if v, found, err := c.Get(patient(t), []byte(key)); err != nil || !found || string(v) != key {
			t.Errorf("%.20q: %q, %v, %v", key, v, found, err)
		}
	}
}

func TestTheLargestBatchesFit(t *testing.T) {
	c := openMemory(t)
	batchOf(t, c, record("large", strings.Repeat("v", client.MaxValue)))
	many := make([]client.Record, client.MaxRecords)
	for i := range many {
		many[i] = record(fmt.Sprintf("many/%05d", i), strings.Repeat("v", client.MaxBatch/client.MaxRecords-client.RecordCost-10))
	}
	batchOf(t, c, many...)
	if n := len(everything(t, c, "many/", 0)); n != client.MaxRecords {
		t.Fatalf("%d of %d records", n, client.MaxRecords)
	}
}

func TestScan(t *testing.T) {
	c := openMemory(t)
	for _, key := range []string{"b/2", "a", "b/1", "b/10", "c", "b", "b0", "b/\xff"} {
		batchOf(t, c, record(key, "value of "+key))
	}
	for _, row := range []struct {
		name          string
		prefix, after string
		limit         int
		want          []string
		more          bool
	}{
		{"everything in order", "", "", 0, []string{"a", "b", "b/1", "b/10", "b/2", "b/\xff", "b0", "c"}, false},
		{"one prefix only", "b/", "", 0, []string{"b/1", "b/10", "b/2", "b/\xff"}, false},
		{"a first page", "b/", "", 2, []string{"b/1", "b/10"}, true},
		{"the page after it", "b/", "b/10", 2, []string{"b/2", "b/\xff"}, false},
		{"a page that ends with the prefix has no more", "b/", "", 4, []string{"b/1", "b/10", "b/2", "b/\xff"}, false},
		{"strictly after", "", "b", 1, []string{"b/1"}, true},
		{"after a key that is not there", "b/", "b/11", 0, []string{"b/2", "b/\xff"}, false},
		{"after something before the prefix", "b/", "a", 1, []string{"b/1"}, true},
		{"after something behind the prefix", "b/", "c", 0, nil, false},
		{"after the last", "b/", "b/\xff", 0, nil, false},
		{"a prefix that nothing has", "x", "", 0, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			page, more, err := c.Scan(patient(t), []byte(row.prefix), []byte(row.after), row.limit)
			var keys []string
			for _, r := range page {
				keys = append(keys, string(r.Key))
				if string(r.Value) != "value of "+string(r.Key) {
					t.Errorf("%q has %q", r.Key, r.Value)
				}
			}
			if err != nil || more != row.more || !slices.Equal(keys, row.want) {
				t.Fatalf("got %q, more %v, %v", keys, more, err)
			}
		})
	}
}

func TestAScanIsCutToAFrameAndGoesOn(t *testing.T) {
	c := openMemory(t)
	var want []string
	for i := range 40 {
		key := fmt.Sprintf("big/%02d", i)
		want = append(want, key)
		batchOf(t, c, record(key, strings.Repeat("v", 100<<10)))
	}
	page, more, err := c.Scan(patient(t), []byte("big/"), nil, 0)
	if err != nil || !more || len(page) != 10 {
		t.Fatalf("the first page has %d records, more %v, %v", len(page), more, err)
	}
	if keys := everything(t, c, "big/", 0); !slices.Equal(keys, want) {
		t.Fatalf("got %q", keys)
	}
	batchOf(t, c, record("big/00", strings.Repeat("v", client.MaxValue)))
	if keys := everything(t, c, "big/", 1); !slices.Equal(keys, want) {
		t.Fatalf("one by one: %q", keys)
	}
}

func TestBatchesFromManyCallersAreAllThere(t *testing.T) {
	c := openMemory(t)
	const callers, each = 20, 50
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				if err := c.Batch(patient(t), []client.Record{record(fmt.Sprintf("%d/%d", i, j), "v"),
					record(fmt.Sprintf("last/%d", i), fmt.Sprint(j))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(everything(t, c, "", 100)); n != callers*each+callers {
		t.Errorf("%d keys", n)
	}
	for i := range callers {
		if v, _, _ := c.Get(patient(t), fmt.Appendf(nil, "last/%d", i)); string(v) != fmt.Sprint(each-1) {
			t.Errorf("caller %d ended with %q", i, v)
		}
	}
}

// Together they are more than one transaction takes.
func TestLargeBatchesAtOnceAreAllDone(t *testing.T) {
	c := openMemory(t)
	var wg sync.WaitGroup
	for i := range maxUnderWay {
		wg.Go(func() {
			value := strings.Repeat("v", client.MaxValue)
			if err := c.Batch(patient(t), []client.Record{record(fmt.Sprint(i), value)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(everything(t, c, "", 0)); n != maxUnderWay {
		t.Errorf("%d of %d", n, maxUnderWay)
	}
}

func TestHealthInMemory(t *testing.T) {
	h, err := openMemory(t).Health(patient(t))
	if err != nil || !h.OK || h.Free >= 0 {
		t.Fatalf("got %+v, %v", h, err)
	}
}

// A value whose seal does not fit is never given out, and the error names the key.
func TestACorruptValueIsAnErrorThatNamesItsKey(t *testing.T) {
	d, c := serveMemory(t)
	batchOf(t, c, record("a", "good"), record("b", "bad"), record("c", "good"))
	for name, stored := range map[string][]byte{
		"a bit flipped":         flip(seal([]byte("b"), []byte("bad")), 0),
		"the seal itself":       flip(seal([]byte("b"), []byte("bad")), 5),
		"another key's value":   seal([]byte("a"), []byte("bad")),
		"too short for a seal":  []byte("bad"),
		"nothing where one was": nil,
	} {
		if err := d.db.Update(func(txn *badger.Txn) error { return txn.Set(storedKey([]byte("b")), stored) }); err != nil {
			t.Fatal(err)
		}
		v, found, get := c.Get(patient(t), []byte("b"))
		page, _, scan := c.Scan(patient(t), nil, nil, 0)
		snap := c.Backup(patient(t), io.Discard)
		if v != nil || found || page != nil {
			t.Errorf("%s: given out: %q, %v", name, v, page)
		}
		for _, err := range []error{get, scan, snap} {
			if !errors.Is(err, client.ErrCorrupt) || !strings.Contains(err.Error(), `key "b"`) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if v, _, err := c.Get(patient(t), []byte("c")); err != nil || string(v) != "good" {
			t.Errorf("%s: its neighbour: %q, %v", name, v, err)
		}
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func TestSealsHoldForEveryLength(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 5, 4096} {
		key, value := []byte("key"), bytes.Repeat([]byte{7}, n)
		stored := seal(key, value)
		got, err := unseal(key, stored)
		if err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		for i := range stored {
			if _, err := unseal(key, flip(stored, i)); err == nil {
				t.Fatalf("%d bytes: byte %d flipped and not seen", n, i)
			}
		}
	}
}

package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func k(n int) []byte { return bytes.Repeat([]byte{'k'}, n) }

var requests = []struct {
	name string
	req  Request
}{
	{"a get", Request{ID: 1, Op: OpGet, Key: []byte("a")}},
	{"a get of the longest key", Request{ID: 1<<64 - 1, Op: OpGet, Key: k(MaxKey)}},
	{"a scan of everything", Request{ID: 2, Op: OpScan}},
	{"a scan of a page", Request{ID: 3, Op: OpScan, Prefix: []byte("s/"), After: []byte("s/7"), Limit: 100}},
	{"a batch of a put, an empty value and a delete", Request{ID: 4, Op: OpBatch, Records: []Record{
		{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b")}, {Key: []byte{0, 255}, Delete: true}}}},
	{"a batch of one largest value", Request{ID: 5, Op: OpBatch, Records: []Record{{Key: k(MaxKey), Value: k(MaxValue)}}}},
	{"a batch of the most records", Request{ID: 6, Op: OpBatch, Records: manyRecords(MaxRecords)}},
	{"the beginning of a backup", Request{ID: 7, Op: OpBackup, Begin: true}},
	{"more of a backup", Request{ID: 7, Op: OpBackup}},
	{"a part of a restore", Request{ID: 7, Op: OpRestore, Step: StepPart, Part: k(MaxChunk)}},
	{"the end of a restore", Request{ID: 7, Op: OpRestore, Step: StepCommit}},
	{"the end of a restore with records", Request{ID: 7, Op: OpRestore, Step: StepCommit, Records: []Record{
		{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Delete: true}}}},
	{"a question for health", Request{ID: 8, Op: OpHealth}},
}

func manyRecords(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Key: []byte{byte(i >> 8), byte(i)}, Value: []byte("v")}
	}
	return records
}

var answers = []struct {
	name string
	a    Answer
}{
	{"a value", Answer{ID: 1, Op: OpGet, Found: true, Value: []byte("v")}},
	{"an empty value", Answer{ID: 1, Op: OpGet, Found: true}},
	{"no value", Answer{ID: 2, Op: OpGet}},
	{"a last page", Answer{ID: 3, Op: OpScan, Records: []Record{{Key: []byte("a"), Value: []byte("1")}}}},
	{"a page with more to come", Answer{ID: 4, Op: OpScan, Records: manyRecords(3000), More: true}},
	{"a batch done", Answer{ID: 5, Op: OpBatch}},
	{"a batch refused", Answer{ID: 5, Op: OpBatch, Status: Full, Text: "3 MB free"}},
	{"a failed scan", Answer{ID: 5, Op: OpScan, Status: Failed, Text: "no"}},
	{"a corrupt value", Answer{ID: 5, Op: OpGet, Status: Corrupt, Text: "key a"}},
	{"good health", Answer{ID: 6, Op: OpHealth, Health: Health{OK: true, Free: 1 << 40}}},
	{"a part of a backup", Answer{ID: 6, Op: OpBackup, Value: k(MaxChunk), More: true}},
	{"a backup refused", Answer{ID: 6, Op: OpRestore, Status: Unfit, Text: "cut"}},
	{"health with a notice", Answer{ID: 6, Op: OpHealth, Health: Health{OK: true, Free: 1, Why: "", Notice: "lost"}}},
	{"bad health with a notice", Answer{ID: 6, Op: OpHealth, Health: Health{Why: "because", Notice: "lost"}}},
	{"bad health in memory", Answer{ID: 6, Op: OpHealth, Health: Health{Free: -1, Why: "because"}}},
}

func TestRequestsSurviveTheWire(t *testing.T) {
	for _, row := range requests {
		t.Run(row.name, func(t *testing.T) {
			frame, err := ReadFrame(bufio.NewReader(bytes.NewReader(row.req.Append(nil))))
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseRequest(frame)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Append(nil), row.req.Append(nil)) || got.ID != row.req.ID || got.Limit != row.req.Limit ||
				!sameRecords(got.Records, row.req.Records) {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

func TestAnswersSurviveTheWire(t *testing.T) {
	for _, row := range answers {
		t.Run(row.name, func(t *testing.T) {
			frame, err := ReadFrame(bufio.NewReader(bytes.NewReader(row.a.Append(nil))))
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseAnswer(frame)
			if err != nil {
				t.Fatal(err)
			}
			if !sameRecords(got.Records, row.a.Records) || !bytes.Equal(got.Value, row.a.Value) {
				t.Fatalf("got %+v", got)
			}
			got.Records, got.Value = row.a.Records, row.a.Value
			if !reflect.DeepEqual(got, row.a) {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

func sameRecords(a, b []Record) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i].Key, b[i].Key) || !bytes.Equal(a[i].Value, b[i].Value) || a[i].Delete != b[i].Delete {
			return false
		}
	}
	return true
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	body := func(op Op, b ...byte) []byte { return append(append(make([]byte, 8), byte(op)), b...) }
	batch := func(records ...Record) []byte {
		r := Request{Op: OpBatch, Records: records}
		return r.Append(nil)[4:]
	}
	for _, row := range []struct {
		name  string
		frame []byte
	}{
		{"an empty frame", nil},
		{"a cut id", make([]byte, 7)},
		{"no operation", make([]byte, 8)},
		{"operation 0", body(0)},
		{"an operation that is none", body(lastOp + 1)},
		{"a get without a key", body(OpGet)},
		{"a get with a long key", body(OpGet, k(MaxKey+1)...)},
		{"a scan that is cut", body(OpScan, 0, 0, 0, 1, 0, 0)},
		{"a scan with a negative limit", body(OpScan, 0x80, 0, 0, 0, 0, 0, 0, 0)},
		{"a scan whose prefix is longer than the frame", body(OpScan, 0, 0, 0, 0, 0, 0, 0, 9, 'a')},
		{"a scan with a huge prefix", body(OpScan, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)},
		{"a scan with a long after", body(OpScan, append(make([]byte, 8), k(MaxKey+1)...)...)},
		{"a batch of more records than bytes", body(OpBatch, 0, 0, 7, 0xff)},
		{"a batch of 4 G records", body(OpBatch, 0xff, 0xff, 0xff, 0xff)},
		{"a batch of too many records", batch(manyRecords(MaxRecords + 1)...)},
		{"a batch of too many bytes", batch(Record{Key: k(1), Value: k(MaxValue)}, Record{Key: k(2), Value: k(MaxBatch - MaxValue)})},
		{"a batch with an empty key", batch(Record{Value: k(9)})},
		{"a batch with a long key", batch(Record{Key: k(MaxKey + 1)})},
		{"a batch with a large value", batch(Record{Key: k(1), Value: k(MaxValue + 1)})},
		{"a delete with a value", batch(Record{Key: k(1), Value: k(1), Delete: true})},
		{"a batch with bytes after it", append(batch(Record{Key: k(1)}), 0)},
		{"a flag that is 2", body(OpBatch, 0, 0, 0, 1, 2, 0, 1, 0, 0, 0, 0, 'k')},
		{"a backup that does not say from where", body(OpBackup)},
		{"a restore without a step", body(OpRestore)},
		{"a restore with a step that is none", body(OpRestore, byte(lastStep+1))},
		{"a restore with a large part", body(OpRestore, append([]byte{byte(StepPart)}, k(MaxChunk+1)...)...)},
		{"a check with a part", body(OpRestore, byte(StepCheck), 0)},
		{"health with something after it", body(OpHealth, 1)},
	} {
		t.Run(row.name, func(t *testing.T) {
			if r, err := ParseRequest(row.frame); !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %+v, %v", r, err)
			}
		})
	}
}

func TestMalformedAnswersAreRefused(t *testing.T) {
	body := func(op Op, s Status, b ...byte) []byte {
		return append(append(make([]byte, 8), byte(op), byte(s)), b...)
	}
	for _, row := range []struct {
		name  string
		frame []byte
	}{
		{"an operation that is none", body(0, Done)},
		{"a status that is none", body(OpGet, lastStatus)},
		{"a value that was not found", body(OpGet, Done, 0, 'v')},
		{"a large value", body(OpGet, Done, append([]byte{1}, k(MaxValue+1)...)...)},
		{"a page that is cut", body(OpScan, Done, 0, 0, 0)},
		{"a page of more records than bytes", body(OpScan, Done, 1, 0, 15, 0, 0)},
		{"health that is cut", body(OpHealth, Done, 1, 0, 0)},
		{"health whose reason is longer than the frame", body(OpHealth, Done, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 'a')},
		{"a large part of a backup", body(OpBackup, Done, append([]byte{1}, k(MaxChunk+1)...)...)},
		{"a batch done, and more", body(OpBatch, Done, 1)},
	} {
		t.Run(row.name, func(t *testing.T) {
			if a, err := ParseAnswer(row.frame); !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %+v, %v", a, err)
			}
		})
	}
}

// A small frame that claims many records costs no memory for them.
func TestAClaimOfManyRecordsTakesNoMemory(t *testing.T) {
	claim := append(append(make([]byte, 8), byte(OpScan), byte(Done), 0), 0, 0x10, 0, 0)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ParseAnswer(claim)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrMalformed) || took > 1<<20 {
		t.Fatalf("%d bytes, %v", took, err)
	}
}

func TestReadFrameSaysHowAStreamEnds(t *testing.T) {
	for _, row := range []struct {
		name   string
		stream string
		want   error
	}{
		{"between two frames", "", io.EOF},
		{"within a length", "\x00\x00", io.ErrUnexpectedEOF},
		{"within a frame", "\x00\x00\x00\x09abc", io.ErrUnexpectedEOF},
		{"right after a length", "\x00\x00\x00\x09", io.ErrUnexpectedEOF},
		{"with a length too short for an id", "\x00\x00\x00\x08abcdefgh", ErrMalformed},
		{"with a length too long", "\xff\xff\xff\xff", ErrMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := ReadFrame(bufio.NewReader(strings.NewReader(row.stream))); !errors.Is(err, row.want) {
				t.Fatalf("got %v, want %v", err, row.want)
			}
		})
	}
}

// What parses is what Append writes: nothing is lost and nothing has two forms.
func FuzzParseRequest(f *testing.F) {
	for _, row := range requests {
		f.Add(row.req.Append(nil)[4:])
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		r, err := ParseRequest(frame)
		if err == nil && !bytes.Equal(r.Append(nil)[4:], frame) {
			t.Fatalf("%x became %x", frame, r.Append(nil)[4:])
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	for _, row := range answers {
		f.Add(row.a.Append(nil)[4:])
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		a, err := ParseAnswer(frame)
		if err == nil && !bytes.Equal(a.Append(nil)[4:], frame) {
			t.Fatalf("%x became %x", frame, a.Append(nil)[4:])
		}
	})
}

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// block is one of pcapng's.
func block(kind uint32, body string) []byte {
	n := uint32(12 + len(body))
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, n)
	return binary.LittleEndian.AppendUint32(append(b, body...), n)
}

// How captures that serveCaptures serves end.
const (
	whole  = iota
	live   // by their reader
	broken // in the middle of a packet
	untold // after one, without a word
)

// serveCaptures serves captures of three packets.
func serveCaptures(t *testing.T, end int) (socket string, asked *string) {
	t.Helper()
	socket, asked = filepath.Join(t.TempDir(), "api.sock"), new(string)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.URL.RequestURI()
		w.Header().Set("Trailer", "Capture-Ended, Capture-Lost")
		w.Write(block(0x0a0d0d0a, "head"))
		for range 3 {
			w.Write(block(6, "some packet."))
		}
		switch end {
		case untold:
			return
		case broken:
			w.Write(block(6, "half a packet...")[:9])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		http.NewResponseController(w).Flush()
		if end == live {
			<-r.Context().Done()
		}
		w.Write(block(5, "done"))
		w.Header().Set("Capture-Ended", "it was ended")
		w.Header().Set("Capture-Lost", "4")
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return socket, asked
}

var wholeCapture = bytes.Join([][]byte{block(0x0a0d0d0a, "head"), block(6, "some packet."), block(6, "some packet."), block(6, "some packet."), block(5, "done")}, nil)

// older is what a file holds that a capture may replace; it is longer than the capture.
var older = bytes.Repeat([]byte("older"), 100)

func TestCaptureWritesAFile(t *testing.T) {
	for _, row := range []struct {
		name  string
		args  []string
		exist string // what is at the file's place
		query string
		code  int
		parts []string // of what is said
	}{
		{"a new file", nil, "", "for=3600&size=100000000", 0, []string{"capturing 10.10.0.2 into", "Ctrl-C", "3 packets captured, 4 lost", "it was ended"}},
		{"of other bounds", []string{"--size", "1 MiB", "--for", "90s", "--snaplen", "128"}, "", "for=90&size=1048576&snaplen=128", 0, nil},
		{"without bounds", []string{"--size", "none", "--for", "0"}, "", "", 0, nil},
		{"one that exists", nil, "file", "", 1, []string{"exists", "--force"}},
		{"one that exists, by force", []string{"--force"}, "file", "for=3600&size=100000000", 0, nil},
		{"a bad size", []string{"--size", "many"}, "", "", 2, []string{"--size", "MB"}},
		{"too small a size", []string{"--size", "1kB"}, "", "", 2, []string{"4 KiB"}},
		{"a bad time", []string{"--for", "100ms"}, "", "", 2, []string{"whole seconds"}},
		{"a bad length", []string{"--snaplen", "3"}, "", "", 2, []string{"14 to 262144"}},
		{"no place for it", nil, "no directory", "", 1, []string{"no such file or directory"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			socket, asked := serveCaptures(t, whole)
			name := filepath.Join(t.TempDir(), "a.pcapng")
			switch row.exist {
			case "file":
				os.WriteFile(name, older, 0o644)
			case "no directory":
				name = filepath.Join(name, "a")
			}
			var out, errs bytes.Buffer
			code := execute(t.Context(), append([]string{"capture", "10.10.0.2", "-w", name, "--socket", socket}, row.args...), &out, &errs)
			if code != row.code || out.Len() > 0 {
				t.Fatalf("%d %s%s", code, out.String(), errs.String())
			}
			for _, part := range row.parts {
				if !strings.Contains(errs.String(), part) {
					t.Errorf("no %q in %s", part, errs.String())
				}
			}
			if code == 0 && *asked != "/api/v1/devices/10.10.0.2/capture?"+row.query {
				t.Errorf("asked %s", *asked)
			}
			text, err := os.ReadFile(name)
			switch {
			case code == 0:
				if st, _ := os.Stat(name); !bytes.Equal(text, wholeCapture) || st.Mode().Perm() != 0o600 {
					t.Errorf("%q of mode %v", text, st.Mode())
				}
			case row.exist == "file":
				if !bytes.Equal(text, older) {
					t.Errorf("the file is %q now", text)
				}
			case err == nil:
				t.Errorf("there is a file: %q", text)
			}
		})
	}
}

func TestCaptureWritesToAPipe(t *testing.T) {
	for _, args := range [][]string{{"-w", "-"}, nil} {
		socket, asked := serveCaptures(t, whole)
		var out, errs bytes.Buffer
		if code := execute(t.Context(), append([]string{"capture", "7", "--socket", socket}, args...), &out, &errs); code != 0 ||
			!bytes.Equal(out.Bytes(), wholeCapture) || *asked != "/api/v1/devices/7/capture?" {
			t.Errorf("%v: %d %q %s %s", args, code, out.String(), errs.String(), *asked)
		}
	}
}

// Ctrl-C ends it in good order.
func TestCaptureEndsWhenItIsTold(t *testing.T) {
	socket, _ := serveCaptures(t, live)
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		io.ReadFull(r, make([]byte, len(wholeCapture)-16))
		stop()
		io.Copy(io.Discard, r)
	}()
	var errs bytes.Buffer
	if code := execute(ctx, []string{"capture", "7", "-w", "-", "--socket", socket}, w, &errs); code != 0 || !strings.Contains(errs.String(), "3 packets captured, 4 lost") {
		t.Errorf("%d %s", code, errs.String())
	}
}

// A reader that ends ends it, quietly, also when no packet comes any more.
func TestCaptureEndsWithItsPipe(t *testing.T) {
	socket, _ := serveCaptures(t, live)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ended := make(chan string, 1)
	go func() {
		var errs bytes.Buffer
		code := execute(t.Context(), []string{"capture", "7", "-w", "-", "--socket", socket}, w, &errs)
		ended <- fmt.Sprint(code, errs.String())
	}()
	io.ReadFull(r, make([]byte, 40))
	r.Close()
	select {
	case said := <-ended:
		if said != "0" {
			t.Error(said)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on")
	}
}

// A named pipe waits for its reader, but not for ever; and it ends when that one is gone.
func TestCaptureWritesToANamedPipe(t *testing.T) {
	socket, asked := serveCaptures(t, live)
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	begin := func(ctx context.Context) (ended chan string) {
		ended = make(chan string, 1)
		go func() {
			var out, errs bytes.Buffer
			code := execute(ctx, []string{"capture", "7", "-w", name, "--socket", socket}, &out, &errs)
			ended <- fmt.Sprint(code, errs.String())
		}()
		return ended
	}
	says := func(ended chan string, want string) {
		t.Helper()
		select {
		case said := <-ended:
			if !strings.Contains(said, want) {
				t.Errorf("it ends with %q, want %q", said, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it goes on")
		}
	}
	read := func() *os.File {
		t.Helper()
		r, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(wholeCapture)-16)
		if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, wholeCapture[:len(b)]) {
			t.Errorf("%q %v", b, err)
		}
		return r
	}

	ctx, stop := context.WithCancel(t.Context())
	ended := begin(ctx)
	time.AfterFunc(100*time.Millisecond, stop)
	says(ended, "nobody has opened")
	if *asked != "" {
		t.Errorf("%s is asked for nobody", *asked)
	}

	ended = begin(t.Context())
	r := read()
	r.Close()
	says(ended, "0")

	ctx, stop = context.WithCancel(t.Context())
	ended = begin(ctx)
	r = read()
	stop()
	if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, wholeCapture[len(wholeCapture)-16:]) {
		t.Errorf("the end is %q %v", rest, err)
	}
	r.Close()
	says(ended, "3 packets captured")
}

// A reader that stands still keeps Ctrl-C waiting for a moment only.
func TestCaptureEndsThoughItsPipeIsFull(t *testing.T) {
	socket, _ := serveCaptures(t, live)
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	room, err := unix.FcntlInt(r.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write(make([]byte, room)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	ended := make(chan string, 1)
	go func() {
		var errs bytes.Buffer
		ended <- fmt.Sprint(execute(ctx, []string{"capture", "7", "-w", name, "--socket", socket}, io.Discard, &errs), errs.String())
	}()
	select {
	case said := <-ended:
		if !strings.HasPrefix(said, "1") || !strings.Contains(said, "stood still") {
			t.Error(said)
		}
	case <-time.After(10 * endTime):
		t.Error("it goes on")
	}
}

// What broke off is whole as far as it goes, and so is what found no room on a disk.
func TestCaptureThatBreaksOff(t *testing.T) {
	for _, end := range []int{untold, broken} {
		socket, _ := serveCaptures(t, end)
		name := filepath.Join(t.TempDir(), "a.pcapng")
		var out, errs bytes.Buffer
		code := execute(t.Context(), []string{"capture", "7", "-w", name, "--socket", socket}, &out, &errs)
		text, _ := os.ReadFile(name)
		if code != exitUnreachable || !strings.Contains(errs.String(), "after 3 packets") || !bytes.Equal(text, wholeCapture[:len(wholeCapture)-16]) {
			t.Errorf("%d: %d %s %q", end, code, errs.String(), text)
		}
	}
	socket, _ := serveCaptures(t, broken)
	name := filepath.Join(t.TempDir(), "a.pcapng")
	var out, errs bytes.Buffer
	os.WriteFile(name, append(bytes.Clone(wholeCapture), block(6, "some packet.")[:17]...), 0o600)
	if n, err := wholeBlocks(name); n != int64(len(wholeCapture)) || err != nil {
		t.Errorf("%d bytes are whole, %v; want %d", n, err, len(wholeCapture))
	}
	if code := execute(t.Context(), []string{"capture", "7", "-w", "/dev/full", "--socket", socket}, &out, &errs); code != exitRefused || !strings.Contains(errs.String(), syscall.ENOSPC.Error()) {
		t.Errorf("%d %s", code, errs.String())
	}
}

// What the daemon refuses leaves no file, and one that it would have replaced as it was.
func TestCaptureThatIsRefused(t *testing.T) {
	f := newFakeDaemon(t, nil)
	name := filepath.Join(t.TempDir(), "a.pcapng")
	code, _, said := f.command(t, "capture", "7", "-w", name)
	if _, err := os.Stat(name); code != exitRefused || !strings.Contains(said, "nobody knows") || err == nil {
		t.Errorf("%d %s %v", code, said, err)
	}
	os.WriteFile(name, older, 0o644)
	code, _, said = f.command(t, "capture", "7", "-w", name, "--force")
	if text, err := os.ReadFile(name); code != exitRefused || !bytes.Equal(text, older) || err != nil {
		t.Errorf("%d %s: the file is %q now, %v", code, said, text, err)
	}
}

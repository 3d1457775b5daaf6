package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/sessions"
	"gatewayd/store"
)

// serveDaemon serves the real API over the real sessions room, with a store in
// memory and no forwarder, and returns its socket.
func serveDaemon(t *testing.T, status api.Status) string {
	t.Helper()
	table, file, err := clients.Create(clients.Shape{Slots: 16, NATBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	stored, closeStore, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	m := sessions.New(sessions.Options{Table: table, Store: stored, Now: time.Now, Boot: clients.NewClock().Now,
		LAN: netip.MustParsePrefix("10.10.0.0/16"), Gateway: netip.MustParseAddr("10.10.0.1")})
	socket := filepath.Join(t.TempDir(), "api.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := api.NewServer(api.New(m, func(context.Context) api.Status { return status }, nil, func() (bool, []string) { return status.Ready, status.Degraded }, nil, nil), slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	go server.Serve(listener)
	t.Cleanup(func() {
		server.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		closeStore()
		table.Close()
		file.Close()
	})
	<-m.Ready()
	return socket
}

func TestCommandsAgainstTheRealAPI(t *testing.T) {
	daemon := &fakeDaemon{socket: serveDaemon(t, api.Status{})}
	for _, step := range []struct {
		line string
		code int
		say  string
	}{
		{"devices list", 0, "no devices yet"},
		{"devices add --mac 02:00:00:00:00:0c --ip 10.10.0.2 --hostname till", 0, "device 1: 02:00:00:00:00:0c at 10.10.0.2\n"},
		{"devices add --mac 02:00:00:00:00:0c --ip 10.10.0.2", 0, "device 1:"},
		{"devices add --mac 02:00:00:00:00:0d --ip 192.0.2.1", 1, "gatewayd devices add --help"},
		{"connect 1", 1, "sell it one: gatewayd sessions create --device 1"},
		{"sessions create --device 10.10.0.2 --type time_or_data --time 1h --data 100MB --expire-days 30 --down 5Mbit --up 3Mbit", 0,
			"session 1 for device 1: time_or_data, 1h or 100 MB, 5/3 Mbit; start it with gatewayd connect 1\n"},
		{"sessions create --device 1 --type data --data 1GB --expire-days never --global", 0, "session 2 for device 1: data, 1 GB, global speed;"},
		{"sessions list", 0, "30 days after its start and its time"},
		{"connect 02:00:00:00:00:0c --notify welcome", 0, "is connected: session 1, "},
		{"connect 1", 1, "already connected; see its session: gatewayd devices show 1"},
		{"devices list", 0, "1   02:00:00:00:00:0c  10.10.0.2  till      yes        1 "},
		{"devices show 1", 0, "state    running\n"},
		{"sessions set 1 --time 2h --expire-days never", 0, "total    2h or 100 MB\n"},
		{"sessions set 1 --global", 0, "speed    global speed\n"},
		{"sessions set 1 --down 8Mbit --up 8Mbit", 0, "speed    8/8 Mbit\n"},
		{"sessions list --state running", 0, "1   1       time_or_data  running  2h or 100 MB"},
		{"pause 10.10.0.2 --notify tea", 0, "device 1 (02:00:00:00:00:0c, 10.10.0.2) is paused: session 1, "},
		{"pause 1", 1, "session 1 is paused; let it go on: gatewayd resume 1"},
		{"connect 1", 1, "already connected: session 1 is paused; let it go on: gatewayd resume 1"},
		{"sessions list --state paused", 0, "1   1       time_or_data  paused  2h or 100 MB"},
		{"sessions show 1", 0, "state    paused (asked)\n"},
		{"devices list", 0, "till      yes        1 "},
		{"resume 1", 0, "device 1 (02:00:00:00:00:0c, 10.10.0.2) goes on: session 1, "},
		{"resume 1", 1, "not paused; see what it does: gatewayd devices show 1"},
		{"disconnect 1", 0, "is disconnected\n"},
		{"disconnect 1", 1, "not connected; connect it first: gatewayd connect 1"},
		{"sessions delete 1", 0, "session 1 is deleted\n"},
		{"sessions show 1", 1, "gatewayd sessions list"},
		{"devices show 10.10.9.9", 1, "gatewayd devices list"},
	} {
		code, out, errs := daemon.command(t, strings.Fields(step.line)...)
		if code != step.code || !strings.Contains(out+errs, step.say) {
			t.Fatalf("gatewayd %s: exit %d\n%s%s\nwant exit %d and %s", step.line, code, out, errs, step.code, step.say)
		}
	}
}

// TestScreenShowsTheRealStatus: each figure of the API's status is on the screen.
func TestScreenShowsTheRealStatus(t *testing.T) {
	port := func(n uint64) api.Port {
		return api.Port{Name: "eth", MAC: "02:00:00:00:00:01", Up: true, MTU: 1500, RxBytes: n * 1e6, TxBytes: n * 1e9, Refused: 10 * n, Overflow: 100 * n}
	}
	daemon := &fakeDaemon{socket: serveDaemon(t, api.Status{
		Ready: true, Degraded: []string{"wan: no carrier"}, Ports: api.Ports{LAN: port(2), WAN: port(3), Host: port(4)},
		Sessions: map[sessions.State]int{sessions.Running: 5}, Clients: api.Clients{Bound: 6, Connected: 7}, NAT: api.NAT{Mappings: 8, Flows: 9},
		Drops: map[string]uint64{"no_grant": 10}, BilledBytes: 11e6, ExemptBytes: 12e6, Version: "1.2.3", UptimeSecs: 13,
		Processes: []api.Process{{Name: "forward", PID: 14, Restarts: 15}},
	})}
	code, out, errs := daemon.command(t, "status")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, part := range []string{"DEGRADED  (gatewayd 1.2.3, up 13s)\n  ! wan: no carrier\n", "2 MB  2 GB  20       200\n", "3 MB  3 GB  30       300\n",
		"4 MB  4 GB  40       400\n", "6 bound, 7 connected\n", "5 running\n", "8 mappings, 9 flows\n", "11 MB, and 12 MB exempt\n", "10 no_grant\n", "forward 14 (restarted 15 times)\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q on\n%s", part, out)
		}
	}
}

func TestBackupAndRestoreAgainstTheRealAPI(t *testing.T) {
	daemon := &fakeDaemon{socket: serveDaemon(t, api.Status{})}
	dir := t.TempDir()
	at := filepath.Join(dir, "b")
	run := func(line string, want int, say string) {
		t.Helper()
		code, out, errs := daemon.command(t, strings.Fields(line)...)
		if code != want || !strings.Contains(out+errs, say) {
			t.Fatalf("gatewayd %s: exit %d\n%s%s\nwant exit %d and %s", line, code, out, errs, want, say)
		}
	}
	run("devices add --mac 02:00:00:00:00:0c", 0, "device 1")
	run("backup "+at, 0, "gatewayd restore "+at)
	st, err := os.Stat(at)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	run("backup "+filepath.Join(dir, "no", "such", "place"), 1, "no such file or directory")
	run("devices add --mac 02:00:00:00:00:0d", 0, "device 2")
	whole, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"cut": whole[:len(whole)-1], "empty": nil, "more": append(bytes.Clone(whole), 0), "text": []byte("hello, this is no backup"),
		"version": bytes.Replace(whole, []byte("store 2"), []byte("store 3"), 1),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		run("restore "+file, 1, "nothing was changed")
	}
	run("restore "+filepath.Join(dir, "version"), 1, `of another version, "gatewayd store 3"`)
	run("restore "+filepath.Join(dir, "none"), 1, "no such file")
	run("devices show 02:00:00:00:00:0d", 0, "02:00:00:00:00:0d")
	run("restore "+at, 0, "restored: ")
	run("devices show 02:00:00:00:00:0d", 1, "no such device")
	run("devices show 02:00:00:00:00:0c", 0, "02:00:00:00:00:0c")
	if left, _ := filepath.Glob(filepath.Join(dir, "*partial*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink(at, link), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{pipe, dir} { // root could replace even /dev/null
		run("backup "+no, 1, "is not a file")
		run("restore "+no, 1, "is not a file")
	}
	if st, err := os.Lstat(pipe); err != nil || st.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("a pipe was replaced: %v, %v", st, err)
	}
	run("backup "+link, 0, "gatewayd restore "+link)
	if st, err := os.Lstat(link); err != nil || st.Mode().Type() != os.ModeSymlink {
		t.Errorf("a link was replaced: %v, %v", st, err)
	}
	if whole, err = os.ReadFile(at); err != nil {
		t.Fatal(err)
	}
	daemon.socket += "x"
	run("backup "+at, 3, "is the daemon running?")
	if now, _ := os.ReadFile(at); !bytes.Equal(now, whole) {
		t.Error("a backup that failed changed the file")
	}
}

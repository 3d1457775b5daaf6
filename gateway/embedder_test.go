package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/gateway/config"
	"gatewayd/sessions"
)

// beEmbedder is a program with a gateway inside. It has no handler for SIGTERM;
// SIGINT it takes as a person's wish to know, once, and then to end.
func beEmbedder(path string) {
	cfg, err := config.Load(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	gw, err := New(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		<-interrupts
		fmt.Println("embedder: interrupted")
		<-interrupts
		fmt.Println("embedder: closed:", gw.Close())
	}()
	err = gw.Run(context.Background())
	fmt.Println("embedder: ran:", err)
	time.Sleep(time.Hour) // who closes it says so, and ends the program
}

// mayNot says why this process may not make a gateway; nil: it may.
func mayNot() error {
	id, _ := childIdentity()
	return checkNeeds(id)
}

// unopened is a config whose ports are taken by Run only.
func unopened(t *testing.T) *config.Config {
	t.Helper()
	if err := mayNot(); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "gw-") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := config.Default()
	cfg.LAN = config.LAN{TAP: "gwlan0", Address: netip.MustParsePrefix("10.10.0.1/16")}
	cfg.WAN = config.WAN{TAP: "gwwan0", Addresses: config.Addresses{List: []netip.Prefix{netip.MustParsePrefix("203.0.113.2/24")}}, Gateway: netip.MustParseAddr("203.0.113.1")}
	cfg.Store.Path, cfg.API.Socket, cfg.Metrics.Listen, cfg.Log.Level = dir+"/store", dir+"/gatewayd.sock", "", "error"
	return &cfg
}

// ownChildren are the commands of this process's children that have not ended.
func ownChildren(t *testing.T) (all []string) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		pids, _ := os.ReadFile(task)
		for _, pid := range strings.Fields(string(pids)) {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			if words := strings.Split(string(line), "\x00"); len(words) > 1 && words[0] == "gatewayd" {
				all = append(all, words[1])
			}
		}
	}
	return all
}

// A program that gives up before Run leaves nothing behind, and may begin anew
// at once; what it sold is on disk.
func TestCloseGivesBackWhatNewTook(t *testing.T) {
	cfg, ctx := unopened(t), context.Background()
	var sold sessions.Session
	for i := range 2 {
		gw, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer gw.Close()
		if i == 0 {
			d, _, err := gw.Sessions().AddDevice(ctx, "02:00:00:00:00:0c", "10.10.0.2", "phone")
			if err != nil {
				t.Fatal(err)
			}
			if sold, err = gw.Sessions().Create(ctx, d.ID, sessions.Plan{TimeSecs: 60, UseGlobalSpeed: true}); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := gw.Sessions().Session(ctx, sold.ID); err != nil || s.TimeSecs != 60 {
			t.Errorf("gateway %d has %+v %v", i, s, err)
		}
		if got := fmt.Sprint(ownChildren(t)); got != "[store]" {
			t.Errorf("gateway %d has the children %s, want its store", i, got)
		}
		for range 2 {
			if err := gw.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if got := ownChildren(t); len(got) > 0 {
			t.Errorf("closed, it leaves %v", got)
		}
		if _, err := os.Stat(cfg.API.Socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("closed, it leaves its socket: %v", err)
		}
		if err := gw.Run(ctx); !errors.Is(err, ErrEnded) {
			t.Errorf("run after close: %v", err)
		}
		if _, err := gw.Sessions().Session(ctx, sold.ID); !errors.Is(err, sessions.ErrStopped) {
			t.Errorf("a call after close: %v", err)
		}
	}
}

// A New that fails leaves nothing either.
func TestNewThatFailsLeavesNothing(t *testing.T) {
	cfg := unopened(t)
	cfg.LAN = config.LAN{Interface: "none0", Address: cfg.LAN.Address}
	if gw, err := New(cfg); err == nil {
		gw.Close()
		t.Fatal("it takes a port that is not there")
	}
	if _, err := os.Stat(cfg.API.Socket); !errors.Is(err, os.ErrNotExist) || len(ownChildren(t)) > 0 {
		t.Errorf("it leaves its socket (%v) or the children %v", err, ownChildren(t))
	}
}

// Close right after New, while the store is being started.
func TestCloseAtOnce(t *testing.T) {
	cfg := unopened(t)
	for range 3 {
		gw, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := gw.Close(); err != nil || len(ownChildren(t)) > 0 {
			t.Errorf("%v, it leaves %v", err, ownChildren(t))
		}
	}
}

// An instance that is ending is waited for: its socket and its store's lock.
func TestNewWaitsForAFormerInstance(t *testing.T) {
	cfg := unopened(t)
	former, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { former.Close() })
	gw, err := New(cfg)
	if err != nil {
		former.Close()
		t.Fatal(err)
	}
	defer gw.Close()
	if _, _, err := gw.Sessions().AddDevice(t.Context(), "02:00:00:00:00:0c", "", ""); err != nil {
		t.Errorf("with the former one's store: %v", err)
	}
}

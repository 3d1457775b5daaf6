package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/store/client"
)

// childDir, in the environment, makes the test binary a store process for that
// directory, with its connection as descriptor 3.
const childDir = "STORE_TEST_CHILD_DIR"

// childLater, in the environment, has it take any database for a large one, which is
// compared while it is served.
const childLater = "STORE_TEST_CHILD_LATER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := beStore(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func beStore(dir string) error {
	conn, err := net.FileConn(os.NewFile(3, "store"))
	if err != nil {
		return err
	}
	conns := make(chan net.Conn, 1)
	conns <- conn
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d := newDisk(dir, Option{})
	if os.Getenv(childLater) != "" {
		d.atOnce = -1
	}
	return serve(ctx, d, conns)
}

// startChild starts a store process for dir and attaches c to it.
func startChild(t testing.TB, c *client.Client, dir string) *exec.Cmd {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer near.Close()
	defer far.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	if rand.N(2) == 0 { // nothing that is promised depends on it
		cmd.Env = append(cmd.Env, childLater+"=1")
	}
	cmd.ExtraFiles = []*os.File{far}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	conn, err := net.FileConn(near)
	if err != nil {
		t.Fatal(err)
	}
	c.Attach(conn)
	return cmd
}

// Callers write numbered batches of three keys and remember the last that was
// acknowledged; the process is killed under them; the next one must have it, and
// no batch in part.
func TestAKilledProcessLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	const callers, rounds = 8, 4
	dir := t.TempDir()
	c := client.New()
	defer c.Close()
	var acked [callers]int
	var acks int
	ctx := patient(t)
	for round := range rounds {
		child := startChild(t, c, dir)
		check(t, c, child, acked[:])
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for n := acked[i] + 1; ; n++ {
					value := fmt.Appendf(nil, "%d %0*d", n, rand.N(4000), 0)
					err := c.Batch(ctx, []client.Record{
						{Key: fmt.Appendf(nil, "first/%d", i), Value: value},
						{Key: fmt.Appendf(nil, "log/%d/%d", i, n), Value: value},
						{Key: fmt.Appendf(nil, "last/%d", i), Value: value}})
					if err != nil {
						return
					}
					acked[i] = n
				}
			})
		}
		time.Sleep(time.Duration(200+200*round) * time.Millisecond)
		if err := child.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		child.Wait()
		wg.Wait()
	}
	child := startChild(t, c, dir)
	check(t, c, child, acked[:])
	for _, n := range acked {
		acks += n
	}
	if acks == 0 {
		t.Fatal("nothing was acknowledged")
	}
	t.Logf("%d batches acknowledged, all there after %d kills", acks, rounds)
}

func check(t *testing.T, c *client.Client, child *exec.Cmd, acked []int) {
	t.Helper()
	ctx := patient(t)
	for i := range acked {
		first, found, err := c.Get(ctx, fmt.Appendf(nil, "first/%d", i))
		if errors.Is(err, context.DeadlineExceeded) { // it says where it waits
			_ = child.Process.Signal(syscall.SIGQUIT)
			child.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			if acked[i] > 0 {
				t.Errorf("caller %d: all %d acknowledged batches are gone", i, acked[i])
			}
			continue
		}
		var n int
		fmt.Sscanf(string(first), "%d", &n)
		if n < acked[i] {
			t.Errorf("caller %d: batch %d was acknowledged, %d is the last there", i, acked[i], n)
		}
		last, _, err := c.Get(ctx, fmt.Appendf(nil, "last/%d", i))
		if err != nil || string(last) != string(first) {
			t.Errorf("caller %d: batch %d is there in part: %.20q, %v", i, n, last, err)
		}
		for j := 1; j <= n; j++ {
			v, found, err := c.Get(ctx, fmt.Appendf(nil, "log/%d/%d", i, j))
			var got int
			fmt.Sscanf(string(v), "%d", &got)
			if err != nil || !found || got != j {
				t.Fatalf("caller %d: batch %d of %d: %v, %v, %.20q", i, j, n, found, err, v)
			}
		}
	}
}

func allocated(path string) (int64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return int64(st.Blocks) * 512, err
}

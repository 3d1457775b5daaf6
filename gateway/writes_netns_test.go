//go:build netns

package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newCard makes an image of an ext4 for the store, and where it is mounted.
func (l *lab) newCard(size int64) {
	l.t.Helper()
	l.card = l.dir + "/card"
	check(l.t, os.Mkdir(l.dir+"/store", 0o700))
	check(l.t, os.WriteFile(l.card, nil, 0o600))
	check(l.t, os.Truncate(l.card, size))
	l.gateway.run("mkfs.ext4", "-q", l.card)
}

// written is how many bytes were written to the card so far.
func (l *lab) written() (bytes int64) {
	l.t.Helper()
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	check(l.t, err)
	for _, path := range backing {
		name, _ := os.ReadFile(path) // one that is just let go has none
		if strings.TrimSpace(string(name)) != l.card {
			continue
		}
		text, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(path)), "stat"))
		check(l.t, err)
		var skip, sectors int64
		_, err = fmt.Sscan(string(text), &skip, &skip, &skip, &skip, &skip, &skip, &sectors)
		check(l.t, err)
		return sectors * 512
	}
	l.t.Fatalf("no loop device has %s", l.card)
	return 0
}

// TestWritesAreFew has a hundred clients send, and counts what that writes to
// the card.
func TestWritesAreFew(t *testing.T) {
	t.Parallel()
	const running, most = 100, 500e6 // bytes a day
	lasts, slack := 15*time.Second, 5.0
	if soaking() {
		lasts, slack = 10*time.Minute, 1
	}
	l := newLab(t)
	l.newCard(256 << 20)
	d := l.start()
	for i := range running {
		mac, ip := member(i)
		d.sellTo(mac.String(), ip.String(), anHour)
		d.must("POST", "/devices/"+mac.String()+"/connect", "", nil)
	}
	l.client.run("ip", "link", "set", "eth0", "arp", "off") // it is not one of them
	l.shout(running, 1)
	time.Sleep(6 * time.Second) // a checkpoint, and what the file system still had
	before, began := l.written(), time.Now()
	for time.Since(began) < lasts {
		l.shout(running, 1)
		time.Sleep(500 * time.Millisecond)
	}
	perDay := float64(l.written()-before) / time.Since(began).Hours() * 24
	figure(t, "written to the card a day by 100 running sessions", perDay/1e6, "MB")
	if perDay > slack*most {
		t.Errorf("%.0f MB a day are written, want %.0f at most", perDay/1e6, slack*most/1e6)
	}
	if n := d.status().Clients.Connected; n != running {
		t.Errorf("%d clients are connected, want %d", n, running)
	}
	// A count that misses the writes would be less than what a sale costs.
	sold := l.written()
	for range 20 {
		d.sellTo(clientMAC, clientIP, anHour)
	}
	if n := l.written() - sold; n < 20*4096 {
		t.Errorf("20 sales wrote %d bytes, want at least a block each", n)
	}
}

//go:build netns

package gateway_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// No file that is not a config, or not a right one, changes anything of a gateway that
// runs, however often it is read: it is refused with what is wrong, where and what to
// do, and what was in force, a closed port of the box among it, stays so.
func TestNoFileHurtsAGatewayThatReloads(t *testing.T) {
	l := newLab(t, "host: {ports: [udp/8080]}", "nat: {filtering: address-and-port}")
	d := l.start()
	v := d.admit(anHour)
	children := d.children()
	path := l.dir + "/gatewayd.yaml"
	right, err := os.ReadFile(path)
	check(t, err)
	good := string(right)
	write := func(text string) func() error {
		return func() error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	changed := func(old, other string) func() error {
		if !strings.Contains(good, old) {
			t.Fatalf("the config has no %q: %s", old, good)
		}
		return write(strings.Replace(good, old, other, 1))
	}
	deep := ""
	for i := range 300 {
		deep += strings.Repeat(" ", i) + "a:\n"
	}
	box, shut := l.gateway.listenUDP(lanIP+":8080"), l.gateway.listenUDP(lanIP+":8081")
	here, server, stranger := l.client.listenUDP(clientIP+":0"), l.server.listenUDP(serverIP+":0"), l.server.listenUDP(serverIP+":0")
	mapped := mapping(t, here, server)
	up, down := l.settle()
	before := d.session(v.ID)
	s := l.stream(time.Millisecond, 1000)
	s.flows()
	rows := uint64(0)
	for _, row := range []struct {
		name string
		make func() error
		says []string // what, where, what to do
	}{
		{"it is away", func() error { return nil }, []string{path + ": no such file or directory", "write that file"}},
		{"a directory", func() error { return os.Mkdir(path, 0o700) }, []string{path + ": is a directory", "write a plain file"}},
		{"a pipe that nobody writes to", func() error { return syscall.Mkfifo(path, 0o600) }, []string{path + ": the file is empty", "needs at least"}},
		{"a link to itself", func() error { return os.Symlink(path, path) }, []string{path + ": too many levels of symbolic links", "write a plain file"}},
		{"a device without an end", func() error { return os.Symlink("/dev/zero", path) }, []string{path + ": the file is larger than 1 MiB", "is this the right file?"}},
		{"nothing written yet", write(""), []string{path + ": the file is empty", "needs at least"}},
		{"half a list", write(good + "bandwidth: {total: {down: 1 Mbit, u"), []string{path + ":", "this is not YAML", "^"}},
		{"half a value", changed("udp/8080]}", "udp/8080]}\nsessions: {idle_pause: 1"), []string{path + ":", "this is not YAML", "^"}},
		{"zeros after a power cut", write(good[:20] + strings.Repeat("\x00", 100)), []string{path + ":", "^"}},
		{"aliases that multiply", write("a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n" + good), []string{path + ":1:4: anchors and aliases are not read here", "write the value itself", "^"}},
		{"brackets in brackets", write("a: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000)), []string{path + ":1:", "more than 10000 words and signs", "is this the right file?"}},
		{"sections in sections", write(deep + good), []string{path + ":1:1: a: unknown key", "there can be mode, workers", "^"}},
		{"a megabyte of comments", write("#" + strings.Repeat("x", 1<<20) + "\n" + good), []string{path + ": the file is larger than 1 MiB", "is this the right file?"}},
		{"two documents", write(good + "---\n" + good), []string{path + ":", "a second document", "remove the line", "^"}},
		{"a key twice", write(good + "host: {ports: all}\n"), []string{path + ":", "host", "^"}},
		{"an unknown key", changed("host: {ports:", "host: {prots:"), []string{path + ":", "host.prots: unknown key", "did you mean ports?", "^"}},
		{"a section in a value's place", changed("host: {ports: [udp/8080]}", "host: {ports: {udp: 8080}}"), []string{path + ":", "host.ports: ", "^"}},
		{"a port too far", changed("[udp/8080]", "[udp/80800]"), []string{path + ":", "host.ports[0]: ", "write it as tcp/80", "^"}},
		{"a number in a word's place", changed("address-and-port", "2"), []string{path + ":", "nat.filtering: \"2\" is not known", "it can be endpoint-independent", "^"}},
		{"a list in a word's place", changed("address-and-port", "[address]"), []string{path + ":", "nat.filtering: one value is wanted here", "^"}},
		{"a port's name too long", changed("interface: eth1", "interface: eth1234567890123456"), []string{path + ":", "lan.interface: ", "a port's name has at most 15", "^"}},
		{"the same port on both sides", changed("interface: eth1", "interface: eth0"), []string{path + ":", "the two sides need two ports", "^"}},
		{"right for one key and wrong for another", write(strings.Replace(good, "[udp/8080]", "all", 1) + "workers: many\n"), []string{path + ":", "workers: \"many\" is not a number of workers", "write one such as 2", "^"}},
	} {
		check(t, os.RemoveAll(path))
		check(t, row.make())
		code, out, errs := l.command("reload", "--socket", l.dir+"/gatewayd.sock")
		if code != 1 || out != "" || !strings.HasSuffix(errs, "the config that runs stays in force; correct the file and reload again\n") {
			t.Errorf("%s: %d, %s%s", row.name, code, out, errs)
		}
		for _, want := range row.says {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: it says %s, want %q", row.name, errs, want)
			}
		}
		if c := d.configState(); c.Refused == "" || !strings.Contains(errs, c.Refused) || len(c.NeedsRestart) > 0 {
			t.Errorf("%s: status: %+v", row.name, c)
		}
		d.signal(syscall.SIGHUP) // again, beside what follows
		_, err := stranger.WriteTo([]byte("stranger"), mapped)
		check(t, err)
		_, err = server.WriteTo([]byte("server"), mapped)
		check(t, err)
		comes(t, here, "server")
		for _, to := range []net.PacketConn{shut, box} {
			_, err := here.WriteTo([]byte(row.name), to.LocalAddr())
			check(t, err)
		}
		comes(t, box, row.name)
		rows++
	}
	check(t, os.RemoveAll(path))
	check(t, write(good)())
	if code, out, errs := l.command("reload", "--socket", l.dir+"/gatewayd.sock"); code != 0 || !strings.Contains(out, "nothing has changed") {
		t.Errorf("the right one again: %d, %s%s", code, out, errs)
	}
	if sent, arrived := s.end(); arrived != sent || s.twice != 0 {
		t.Errorf("%d of %d datagrams arrived, %d twice", arrived, sent, s.twice)
	}
	u, w := l.settle()
	if now := d.session(v.ID); now.UpBytes-before.UpBytes != u.bytes-up.bytes || now.DownBytes-before.DownBytes != w.bytes-down.bytes {
		t.Errorf("billed %d up, %d down; arrived %d, %d", now.UpBytes-before.UpBytes, now.DownBytes-before.DownBytes, u.bytes-up.bytes, w.bytes-down.bytes)
	}
	nothing(t, here)
	nothing(t, shut)
	if drops := d.status().Drops; drops["filtered"] != rows || drops["local_closed"] != rows {
		t.Errorf("drops %v, want %d as filtered and local_closed", drops, rows)
	}
	if now := d.children(); fmt.Sprint(now) != fmt.Sprint(children) {
		t.Errorf("the processes were %v, and are %v", children, now)
	}
	if s := d.status(); !s.Ready || len(s.Degraded) > 0 {
		t.Errorf("%+v", s)
	}
}

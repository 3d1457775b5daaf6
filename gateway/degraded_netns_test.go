//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// degradedBy waits until a reason in the status has all of the parts.
func (d *daemon) degradedBy(parts ...string) {
	d.t.Helper()
	eventually(d.t, 2*soon, fmt.Sprintf("the status says %q", parts), func() error {
		var s status
		if _, err := d.ask("GET", "/status", "", &s); err != nil {
			return err
		}
		for _, why := range s.Degraded {
			has := 0
			for _, part := range parts {
				if strings.Contains(why, part) {
					has++
				}
			}
			if has == len(parts) {
				return nil
			}
		}
		return fmt.Errorf("%q", s.Degraded)
	})
}

// sound waits until the status has nothing to say.
func (d *daemon) sound() {
	d.t.Helper()
	eventually(d.t, 3*soon, "the status is sound", func() error {
		var s status
		_, err := d.ask("GET", "/status", "", &s)
		if err == nil && (len(s.Degraded) > 0 || !s.Ready) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
}

func TestTheStatusSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	d.admit(anHour)
	d.sound()

	l.server.run("ip", "link", "set", "eth0", "down")
	d.degradedBy("port eth0 has no link", "check the cable")
	l.server.run("ip", "link", "set", "eth0", "up")
	d.sound()

	l.gateway.run("sh", "-c", "ip link set eth1 down && ip link set eth1 name gone0")
	d.degradedBy("port eth1 is away", "plug it in")
	l.gateway.run("sh", "-c", "ip link set gone0 name eth1 && ip link set eth1 up")
	d.sound()

	goOn := d.halt("store")
	d.degradedBy("nothing can be sold or changed", "does not answer in time", "see dmesg")
	code, screen, _ := l.command("status", "--socket", l.dir+"/gatewayd.sock")
	if code != 0 || !strings.HasPrefix(screen, "ready, but DEGRADED") || !strings.Contains(screen, "\n  ! nothing can be sold") ||
		strings.Count(screen, "\n") > 24 {
		t.Errorf("exit %d:\n%s", code, screen)
	}
	goOn()
	d.sound()

	goOn = d.halt("forward")
	gateway := l.portMAC("eth1").String()
	for range 3 { // more than the ring holds
		l.client.run("nping", "-q", "-c", "3000", "--rate", "20000", "-e", "eth0", "--dest-mac", gateway, "--source-mac", clientMAC,
			"-S", clientIP, "--udp", "-p", "9", serverIP)
	}
	d.degradedBy("the forwarder is not running", "started again")
	goOn()
	d.degradedBy("port eth1: the kernel lost", "sell lower speeds")

	for range 10 {
		pid := d.kill("control")
		eventually(t, 2*soon, "control is another process", func() error {
			if now := d.children()["control"]; now == 0 || now == pid || !alive(now) {
				return errors.New("not yet")
			}
			return nil
		})
	}
	d.degradedBy("control has ended 10 times", "journalctl")
}

func TestTheStatusSaysWhatIsFull(t *testing.T) {
	t.Parallel()
	const neighbourMAC, neighbourIP = "02:00:00:00:00:0d", "10.10.0.3"
	l := newLab(t, "limits: {clients: 2, nat_flows: 64, flows_per_client: 40}", "wan: {interface: eth0, address: "+wanIP+"/24, gateway: 203.0.113.99}")
	d := l.start()
	d.degradedBy("the next router 203.0.113.99 does not answer ARP on eth0", "check the cable and wan.gateway")
	l.server.run("ip", "addr", "add", "203.0.113.99/24", "dev", "eth0")
	d.admit(anHour)
	d.must("POST", "/devices", `{"mac":"`+neighbourMAC+`","ip":"`+neighbourIP+`"}`, nil)
	d.must("POST", "/devices/"+neighbourMAC+"/sessions", anHour, nil)
	d.must("POST", "/devices/"+neighbourMAC+"/connect", "", nil)
	neighbour, newcomer := l.neighbour(neighbourMAC, neighbourIP), l.neighbour("02:00:00:00:00:0e", "10.10.0.4")
	d.sound()

	_, _ = newcomer.try("ping", "-c", "2", "-W", "1", serverIP)
	d.degradedBy("the client table is full", "raise limits.clients, which is 2")
	for _, n := range []*namespace{l.client, neighbour} {
		n.run("nping", "-q", "--udp", "-c", "1", "-p", "1000-1060", "--rate", "1000", serverIP)
	}
	d.degradedBy("the translation table is full", "raise limits.nat_flows, which is 64")
}

func TestTheStatusSaysThatTheDiskIsFull(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	disk := filepath.Join(l.dir, "store")
	check(t, os.Mkdir(disk, 0o755))
	check(t, syscall.Mount("gatewayd-test", disk, "tmpfs", 0, "size=40m"))
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	d := l.start()
	d.admit(anHour)
	d.sound()
	filler := filepath.Join(disk, "lost+found")
	l.gateway.run("sh", "-c", "head -c 40m /dev/zero >'"+filler+"' 2>/dev/null; true")
	d.degradedBy("nothing can be sold or changed", "the store's disk is full", "free some space")
	if err := os.Remove(filler); err != nil {
		t.Error(err)
	}
	d.sound()
}

// A child that cannot serve is started again and again; the log is not filled
// with what it says each time.
func TestAChildThatFailsAgainAndAgainIsHeardAFewTimes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	wrong := filepath.Join(l.dir, "store", "LOCK") // a directory in a file's place
	check(t, os.MkdirAll(wrong, 0o755))
	d := l.start()
	d.degradedBy("store does not run", "LOCK")
	d.degradedBy("store has ended 10 times")
	if said := d.out.String(); !strings.Contains(said, wrong) || strings.Contains(said, "gatewayd store: ") { // in the log, beside it
		t.Errorf("it says %s", said)
	}
	check(t, os.Remove(wrong))
	eventually(t, 3*soon, "changes are made again", func() error {
		code, err := d.ask("POST", "/devices", `{"mac":"`+clientMAC+`","ip":"`+clientIP+`"}`, nil)
		if err == nil && code >= http.StatusMultipleChoices {
			err = fmt.Errorf("%d", code)
		}
		return err
	})
}

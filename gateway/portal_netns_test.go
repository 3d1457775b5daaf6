//go:build netns

package gateway_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// portalURL is where a client's browser finds the portal.
const portalURL = "http://" + lanIP + "/"

// The portal of examples/ is built as its README says, run in place of
// gatewayd, and used by people with a browser.
func TestThePortal(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-o", bin+"/", "./examples/...")
	build.Dir = ".."
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the examples: %v: %s", err, said)
	}
	browsers := make(chan struct{}, 2) // that work at once: they do not wait
	for name, test := range map[string]func(*testing.T, string){
		"lets a client in and out":        portalLetsInAndOut,
		"shows what is used as it is":     portalShowsUse,
		"keeps clients apart":             portalKeepsClientsApart,
		"is not moved by markup or sites": portalIsNotMoved,
		"works without script":            portalWorksWithoutScript,
		"uses what a shop sells":          portalUsesWhatAShopSells,
		"comes back after its death":      portalComesBack,
		"is a service as its README says": portalIsAService,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			browsers <- struct{}{}
			defer func() { <-browsers }()
			test(t, bin)
		})
	}
}

// portal starts the portal in gatewayd's place.
func (l *lab) portal(bin string, flags ...string) *daemon {
	l.t.Helper()
	d := &daemon{l: l, http: api(l.dir + "/gatewayd.sock")}
	d.program = l.gateway.start(filepath.Join(bin, "portal"), append([]string{"-config", l.writeConfig()}, flags...)...)
	l.t.Cleanup(func() {
		if !d.expected {
			d.stop()
		}
		if l.t.Failed() {
			said := strings.Split(strings.TrimSpace(d.out.String()), "\n")
			l.t.Logf("the portal said last:\n  %s", strings.Join(said[max(0, len(said)-40):], "\n  "))
		}
	})
	eventually(l.t, 2*soon, "the portal's gateway is ready", func() error {
		var s status
		if _, err := d.ask("GET", "/status", "", &s); err != nil || !s.Ready {
			return fmt.Errorf("%+v %v: %s", s, err, d.out.String())
		}
		return nil
	})
	return d
}

// passes has somebody ask the server for a page, which has to come.
func (d *daemon) passes(n *namespace) {
	d.t.Helper()
	eventually(d.t, soon, "a page of the server comes", func() error {
		said, err := n.try("curl", "-sS", "-m", "5", "http://"+serverIP+":8080/")
		if err == nil && said != "internet" {
			err = errors.New(said)
		}
		return err
	})
}

// blocks has somebody call the server, which nothing may reach.
func (d *daemon) blocks(n *namespace) {
	d.t.Helper()
	arrived := func() (packets uint64) { // but what the box itself asks the shop, which it does at any time
		eventually(d.t, 4*soon, "nobody asks the shop for a while", func() error {
			before := d.l.atServer.nft("shop").packets
			up, _ := d.l.settle()
			if packets = up.packets - before; d.l.atServer.nft("shop").packets != before {
				return errNotYet
			}
			return nil
		})
		return packets
	}
	before := arrived()
	dropped := func() uint64 { drops := d.status().Drops; return drops["no_grant"] + drops["data_used_up"] }
	drops := dropped()
	check(d.t, n.do(func() error {
		c, err := net.DialTimeout("tcp4", serverIP+":8080", 300*time.Millisecond)
		if err == nil {
			c.Close()
			d.t.Error("the server answers, want nothing to pass")
		}
		return nil
	}))
	eventually(d.t, soon, "the gateway counts what it dropped", func() error {
		if dropped() == drops {
			return errNotYet
		}
		return nil
	})
	if now := arrived(); now != before {
		d.t.Errorf("%d packets arrived at the server, want none", now-before)
	}
}

// internet has the server serve.
func (l *lab) internet() {
	l.t.Helper()
	l.server.web(serverIP+":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, "internet")
	}))
}

// stays marks the page and says whether it was loaded anew since.
func (b *browser) stays() func() {
	b.t.Helper()
	b.run(`window.mark = 'here'`, nil)
	return func() {
		b.t.Helper()
		var mark string
		if err := b.ask(`window.mark || ''`, &mark); err != nil || mark != "here" {
			b.t.Errorf("the page was loaded anew: %q %v", mark, err)
		}
		if wrong := b.complaints(); len(wrong) > 0 {
			b.t.Errorf("the browser complains: %v", wrong)
		}
	}
}

func portalLetsInAndOut(t *testing.T, bin string) {
	l := newLab(t)
	l.internet()
	d := l.portal(bin, "-demo", "-title", "Café Antares")
	b := l.client.browse()
	b.open(portalURL)
	b.shows("Café Antares", "You are offline", clientMAC, clientIP, "You have no session")
	stays := b.stays()
	d.blocks(l.client)
	if got := b.buttons(); !slices.Equal(got, []string{"Get 5 free minutes"}) {
		t.Errorf("buttons %q, want only the demo's", got)
	}

	b.click("Get 5 free minutes")
	b.shows("You have a session", "Time", "5 min 00 s of 5 min 00 s", "5 Mbit/s down, 3 Mbit/s up", "1 days after its first use", "local", "ready")
	d.blocks(l.client)

	b.click("Connect")
	b.shows("You are online", "You are now connected to the internet.", "in use")
	b.hides("You are offline")
	d.passes(l.client)
	b.moves(".running dd") // by itself
	b.moves(".running dd")
	var focused string // Connect had it and is gone
	if b.run(`document.activeElement.innerText`, &focused); focused != "Pause" {
		t.Errorf("the focus is on %q, want Pause", focused)
	}
	if got := b.buttons(); !slices.Equal(got, []string{"Pause", "Disconnect"}) {
		t.Errorf("buttons %q, want Pause and Disconnect", got)
	}

	b.click("Pause")
	b.shows("You are paused", "Your session is paused.")
	d.blocks(l.client)
	if v := d.device(clientMAC); !v.Connected || v.Session == nil || v.Session.State != "paused" {
		t.Errorf("the client is %+v, want connected and paused", v)
	}
	if got := b.buttons(); !slices.Equal(got, []string{"Resume", "Disconnect"}) {
		t.Errorf("buttons %q, want Resume and Disconnect", got)
	}
	b.click("Resume")
	b.shows("You are online", "Your session goes on.")
	d.passes(l.client)

	b.click("Disconnect")
	b.shows("You are offline", "You are now disconnected from the internet.", "ready")
	d.blocks(l.client)
	if s := list[session](d, "/devices/"+clientMAC+"/sessions"); len(s) != 1 || s[0].State != "available" || s[0].RemainingTime >= 300 {
		t.Errorf("sessions %+v, want one with less than 300 s left", s)
	}

	b.click("Connect")
	b.shows("You are online")
	d.passes(l.client)
	stays()
	if took := d.stop(); took > 10*time.Second {
		t.Errorf("the portal took %v to end", took)
	}
}

// What packets use and what ends a session is shown without a click.
func portalShowsUse(t *testing.T, bin string) {
	l := newLab(t)
	l.internet()
	d := l.portal(bin)
	v := d.sell(fmt.Sprintf(megabyte, 2))
	b := l.client.browse()
	b.open(portalURL)
	b.shows("Data", "2.0 MB of 2.0 MB")
	stays := b.stays()
	b.click("Connect")
	b.shows("You are online")

	const size = 1_000_000
	file := l.dir + "/upload"
	check(t, os.WriteFile(file, make([]byte, size), 0o600))
	l.client.run("curl", "-sS", "--data-binary", "@"+file, "http://"+serverIP+":8080/")
	u, _ := l.settle()
	left := d.session(v.ID).RemainingData
	if u.bytes < size || left > 1 {
		t.Fatalf("%d bytes arrived, %v MB left", u.bytes, left)
	}
	b.shows(fmt.Sprintf("%d kB of 2.0 MB", int(left*1000)))

	l.client.start("curl", "-sS", "--data-binary", "@"+file, "http://"+serverIP+":8080/") // is cut off
	b.shows("You are offline", "0 kB of 2.0 MB", "used up")
	d.blocks(l.client)
	if got := b.buttons(); len(got) != 0 {
		t.Errorf("buttons %q, want none", got)
	}
	d.sell(anHour) // at the desk
	b.shows("You have a session", "1 h 00 min of 1 h 00 min")
	b.click("Connect")
	b.shows("You are online")
	d.passes(l.client)
	stays()
}

func portalKeepsClientsApart(t *testing.T, bin string) {
	const otherMAC, otherIP = "02:00:00:00:00:0d", "10.10.0.3"
	l := newLab(t)
	l.internet()
	d := l.portal(bin)
	other := l.neighbour(otherMAC, otherIP)
	mine := l.client.browse()
	mine.open(portalURL)
	theirs := other.browse()
	theirs.open(portalURL)
	theirs.shows(otherMAC, otherIP)
	mine.shows(clientMAC, clientIP)
	d.sell(`{"type":"time","time_secs":3600,"down_mbits":7,"up_mbits":2}`)
	mine.shows("7 Mbit/s down, 2 Mbit/s up")
	mine.click("Connect")
	mine.shows("You are online", "You are now connected")
	d.passes(l.client)
	d.blocks(other)
	d.sellTo(otherMAC, otherIP, `{"type":"data","data_mb":9,"down_mbits":4,"up_mbits":1}`)
	theirs.shows("4 Mbit/s down, 1 Mbit/s up", "You are offline") // what comes later has come
	for _, secret := range []string{clientMAC, clientIP + "\n", "7 Mbit/s", "You are now connected"} {
		theirs.hides(secret)
	}
	for _, secret := range []string{otherMAC, otherIP + "\n", "4 Mbit/s"} {
		mine.hides(secret)
	}
	if wrong := append(mine.complaints(), theirs.complaints()...); len(wrong) > 0 {
		t.Errorf("the browsers complain: %v", wrong)
	}
}

// Names with markup are text, and another site cannot press the buttons.
func portalIsNotMoved(t *testing.T, bin string) {
	const name, agent = `<img src=x onerror="window.moved=1">&amp;<b>`, `Mozilla/5.0 <script>window.moved=1</script>`
	l := newLab(t)
	d := l.portal(bin)
	d.sell(anHour)
	d.must("POST", "/devices", fmt.Sprintf(`{"mac":%q,"hostname":%q}`, clientMAC, name), nil)
	b := l.client.browse()
	b.call("Emulation.setUserAgentOverride", map[string]any{"userAgent": agent}, nil)
	b.open(portalURL)
	b.shows(name, agent)
	stays := b.stays()
	d.must("POST", "/devices", fmt.Sprintf(`{"mac":%q,"hostname":%q}`, clientMAC, name+"2"), nil)
	b.shows(name+"2", agent) // fitted in by the page's script
	var moved bool
	if b.run(`!!window.moved || !!document.querySelector('dd img, dd b, dd script')`, &moved); moved {
		t.Error("markup in a name became markup")
	}
	stays()

	l.gateway.web(lanIP+":8081", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method=post action=%sconnect><button>Win</button></form>`, portalURL)
	}))
	b.open("http://" + lanIP + ":8081/")
	b.click("Win")
	b.shows("cross-origin")
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"a name that leads here", []string{"-H", "Host: evil.example", "-H", "Origin: http://evil.example", "-X", "POST", portalURL + "connect"}, "421"},
		{"another site's form", []string{"-H", "Origin: http://evil.example", "-X", "POST", portalURL + "connect"}, "403"},
		{"a sandboxed frame's", []string{"-H", "Origin: null", "-X", "POST", portalURL + "connect"}, "403"},
		{"a GET", []string{portalURL + "connect"}, "405"},
		{"a test for portals", []string{"-H", "Host: connectivity.example", portalURL + "generate_204"}, "302"},
		{"a long body", []string{"--data-binary", "@portal_netns_test.go", portalURL + "connect"}, "413"},
		{"long headers", []string{"-H", "X-Long: " + strings.Repeat("x", 9000), portalURL}, "431"},
	} {
		got, _ := l.client.try("curl", append([]string{"-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}"}, row.args...)...)
		if got != row.want { // a refusal may come before all was sent, which curl takes for an error
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	if v := d.device(clientMAC); v.Connected {
		t.Errorf("the client is %+v, want not connected by another site", v)
	}
}

// Forms alone: what a page says is as of when it was loaded.
func portalWorksWithoutScript(t *testing.T, bin string) {
	l := newLab(t)
	l.internet()
	d := l.portal(bin, "-port", "8000")
	const url = "http://" + lanIP + ":8000/"
	d.sell(anHour)
	read := func(args ...string) string {
		t.Helper()
		return l.client.run("curl", append([]string{"-sS", "-w", "%{http_code} %{redirect_url}", "-H", "Origin: " + strings.TrimSuffix(url, "/")}, args...)...)
	}
	for _, row := range []struct {
		name  string
		args  []string
		shows []string
	}{
		{"the page", []string{url}, []string{"You are offline", "200 "}},
		{"disconnect too early", []string{"-X", "POST", url + "disconnect"}, []string{"You are not connected.", "409 "}},
		{"connect", []string{"-X", "POST", url + "connect"}, []string{"303 " + url}},
		{"the page then", []string{url}, []string{"You are online", "200 "}},
		{"connect again", []string{"-X", "POST", url + "connect"}, []string{"You are connected already.", "409 "}},
		{"pause", []string{"-X", "POST", url + "pause"}, []string{"303 " + url}},
		{"pause again", []string{"-X", "POST", url + "pause"}, []string{"You are paused", "Your session is paused already.", "409 "}},
		{"resume", []string{"-X", "POST", url + "resume"}, []string{"303 " + url}},
		{"resume again", []string{"-X", "POST", url + "resume"}, []string{"You are online", "Your session is not paused.", "409 "}},
		{"a present that is not given", []string{"-X", "POST", url + "demo"}, []string{"404 "}},
	} {
		got := read(row.args...)
		for _, want := range row.shows {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s, want %q", row.name, got, want)
			}
		}
	}
	d.passes(l.client)
	read("-X", "POST", url+"disconnect")
	d.blocks(l.client)
}

// The program is the keeper and control at once. Killed, it is started again,
// and neither the client nor its open page has to do anything.
func portalComesBack(t *testing.T, bin string) {
	l := newLab(t)
	l.config["store"] = "{path: " + l.dir + "/store, checkpoint: 1s}"
	l.internet()
	d := l.portal(bin)
	v := d.sell(fmt.Sprintf(megabyte, 50))
	b := l.client.browse()
	b.open(portalURL)
	b.click("Connect")
	b.shows("You are online")
	b.run(`window.mark = 'here'`, nil)
	l.client.run("sh", "-c", "head -c 1000000 /dev/zero | curl -sS -m 50 -o /dev/null --data-binary @- http://"+serverIP+":8080/")
	before := d.session(v.ID)
	checkpoints := func() int { return strings.Count(d.out.String(), "msg=checkpoint") }
	now := checkpoints()
	eventually(t, 2*soon, "what was used is on the disk", func() error {
		if checkpoints() < now+2 { // the first may have begun before
			return errNotYet
		}
		return nil
	})

	d.expected = true
	children := d.children()
	check(t, d.cmd.Process.Kill())
	<-d.ended
	gone(t, children)
	d = l.portal(bin)
	d.passes(l.client)
	eventually(t, 4*soon, "the page is live again", func() error {
		var stale bool
		if err := b.ask(`document.body.classList.contains('stale')`, &stale); err != nil || stale {
			return cmp.Or(err, errNotYet)
		}
		return nil
	})
	b.shows("You are online")
	b.click("Disconnect")
	b.shows("You are offline")
	d.blocks(l.client)
	if after := d.session(v.ID); after.UpBytes < before.UpBytes {
		t.Errorf("%d bytes were counted before its death, %d after", before.UpBytes, after.UpBytes)
	}
	var mark string
	if b.run(`window.mark || ''`, &mark); mark != "here" {
		t.Error("the page was loaded anew")
	}
}

// The drop-in in the portal's README makes it the program of gatewayd's own unit.
func portalIsAService(t *testing.T, bin string) {
	l := newLab(t)
	l.internet()
	text, err := os.ReadFile("../examples/portal/README.md")
	check(t, err)
	_, after, found := strings.Cut(string(text), "\n    [Service]\n")
	if !found {
		t.Fatal("the README has no drop-in")
	}
	var lines []string
	for line := range strings.Lines(after) {
		line, indented := strings.CutPrefix(line, "    ")
		if !indented {
			break
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	b := l.boot(lines...)
	portal, err := os.ReadFile(filepath.Join(bin, "portal"))
	check(t, err)
	at := fmt.Sprintf("/proc/%d/root/usr/local/bin", b.init)
	check(t, os.MkdirAll(at, 0o755))
	check(t, os.WriteFile(at+"/portal", portal, 0o755))
	b.run("systemctl", "start", "gatewayd")
	d := &daemon{l: l, program: &program{t: t}, http: api(fmt.Sprintf("/proc/%d/root/run/gatewayd/gatewayd.sock", b.init))}
	eventually(t, 4*soon, "the page is served", func() error {
		got, err := l.client.try("curl", "-sS", "-m", "5", portalURL)
		if err == nil && !strings.Contains(got, "Café Antares") {
			err = errors.New(got)
		}
		return err
	})
	d.sell(anHour)
	d.blocks(l.client)
	l.client.run("curl", "-sS", "-X", "POST", portalURL+"connect")
	d.passes(l.client)
	b.run("systemctl", "stop", "gatewayd")
	if got := b.property("Result"); got != "success" {
		t.Errorf("the service ended with %s", got)
	}
}

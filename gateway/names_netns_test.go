//go:build netns

package gateway_test

import "testing"

// A change of address that is refused as the store hangs changes nothing, neither then
// nor when the store goes on.
func TestARefusedAddressIsNotInForce(t *testing.T) {
	t.Parallel()
	const newIP, newMAC = "10.10.55.5", "02:00:00:00:00:98"
	l := newLab(t)
	d := l.start()
	d.admit(anHour)
	ping := func() { t.Helper(); l.client.run("ping", "-c", "2", "-i", "0.2", "-W", "10", serverIP) }
	ping()
	goOn := d.halt("store")
	for _, mac := range []string{clientMAC, newMAC} {
		if code, err := d.ask("POST", "/devices", `{"mac":"`+mac+`","ip":"`+newIP+`","hostname":"new"}`, nil); code != 503 {
			t.Errorf("%s at %s without the store: %d, %v; want 503", mac, newIP, code, err)
		}
	}
	if v := d.device(clientMAC); v.IP != clientIP {
		t.Errorf("refused, and it is at %s", v.IP)
	}
	ping()
	goOn()
	d.sound()
	for range 2 {
		if v := d.device(clientMAC); v.IP != clientIP {
			t.Errorf("refused, and it is at %s now", v.IP)
		}
		for _, key := range []string{newIP, newMAC} {
			if code, _ := d.ask("GET", "/devices/"+key, "", nil); code != 404 {
				t.Errorf("GET of %s: %d, want 404", key, code)
			}
		}
		ping()
		d.stop()
		d = l.start()
	}
}

// An address that was bound ahead names its device over a restart, to every command,
// until another client sends from it.
func TestAnAddressBoundAheadNamesItsDeviceAfterARestart(t *testing.T) {
	t.Parallel()
	const aheadMAC, ip, otherMAC = "02:00:00:00:00:97", "10.10.7.7", "02:00:00:00:00:0d"
	l := newLab(t)
	d := l.start()
	socket := []string{"--socket", l.dir + "/gatewayd.sock"}
	does := func(words ...string) {
		t.Helper()
		if code, out, said := l.command(append(words, socket...)...); code != 0 {
			t.Errorf("gatewayd %v: exit %d: %s%s", words, code, out, said)
		}
	}
	does("devices", "add", "--mac", aheadMAC, "--ip", ip)
	d.stop()
	d = l.start()
	does("devices", "show", ip)
	does("sessions", "create", "--device", ip, "--type", "time", "--time", "1h", "--global")
	d.saysOf(ip, "client", "on the client", "it is known, but not here")
	does("connect", ip)
	does("pause", ip)
	does("resume", ip)
	does("disconnect", ip)
	if v := d.device(ip); v.MAC != aheadMAC || v.IP != ip {
		t.Errorf("%s names %+v", ip, v)
	}
	d.stop()

	d = l.start()
	other := l.neighbour(otherMAC, ip)
	_, _ = other.try("ping", "-c", "2", "-i", "0.2", "-W", "1", lanIP)
	d.saysOf(otherMAC, "admit", "gatewayd sessions create", otherMAC+", "+ip)
	does("sessions", "create", "--device", ip, "--type", "time", "--time", "1h", "--global")
	does("connect", ip)
	other.run("ping", "-c", "2", "-i", "0.2", "-W", "10", serverIP)
	for range 2 {
		if v := d.device(aheadMAC); v.IP != "" {
			t.Errorf("who lost its address shows %s", v.IP)
		}
		if v := d.device(ip); v.MAC != otherMAC {
			t.Errorf("%s names %s", ip, v.MAC)
		}
		d.stop()
		d = l.start()
	}
}

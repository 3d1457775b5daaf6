//go:build netns

package gateway_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestClientsReachTheBoxUnbilledAndUnlimited(t *testing.T) {
	t.Parallel()
	inBothModes(t, clientsReachTheBoxUnbilledAndUnlimited)
}

func clientsReachTheBoxUnbilledAndUnlimited(t *testing.T, newLab makeLab) {
	t.Parallel()
	const size = 5_000_000
	l := newLab(t)
	d := l.start()
	l.gateway.web(lanIP+":8080", depot(size))
	load := func(when string) {
		t.Helper()
		got, err := l.client.try("sh", "-c", "curl -sS -m 10 http://"+lanIP+":8080/ | wc -c")
		if err != nil || strings.TrimSpace(got) != fmt.Sprint(size) {
			t.Errorf("%s the box served %s bytes, want %d: %v", when, got, size, err)
		}
	}
	load("without a session")
	if said, err := l.client.try("ping", "-c", "2", "-i", "0.1", "-W", "2", lanIP); err != nil {
		t.Errorf("ping of the box: %s", said)
	}
	if s := d.status(); s.BilledBytes != 0 || s.ExemptBytes < size {
		t.Errorf("billed %d bytes and exempt %d, want 0 and what was loaded", s.BilledBytes, s.ExemptBytes)
	}

	v := d.sell(`{"type":"data","data_mb":1,"down_mbits":1,"up_mbits":1}`)
	d.connect()
	load("with a session of 1 MB at 1 Mbit") // 40 s at that rate
	if v = d.session(v.ID); v.State != "running" || v.UpBytes+v.DownBytes != 0 {
		t.Errorf("%+v, want running and nothing billed", v)
	}
	if said := l.client.run("curl", "-sS", "-T", "lab_netns_test.go", "http://"+lanIP+":8080/"); !strings.Contains(said, " ") {
		t.Errorf("upload to the box: %s", said)
	}
	if up, _ := l.settle(); up.packets != 0 {
		t.Errorf("%d packets for the box arrived at the server", up.packets)
	}
}

func TestHostPortsCloseTheBox(t *testing.T) { inBothModes(t, hostPortsCloseTheBox) }

func hostPortsCloseTheBox(t *testing.T, newLab makeLab) {
	for _, row := range []struct {
		name, config string
		open, closed []string
	}{
		{"a list", "host: {ports: [tcp/8080, tcp/9000-9001, udp/53]}", []string{"8080", "9001"}, []string{"8081", "9002", "53"}},
		{"none", "host: {ports: none}", nil, []string{"8080", "8081"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, row.config)
			d := l.start()
			for _, port := range append(row.open, row.closed...) {
				l.gateway.web(":"+port, depot(10))
			}
			d.admit(anHour)
			for _, port := range row.open {
				l.client.run("curl", "-sS", "-m", "5", "-o", "/dev/null", "http://"+lanIP+":"+port+"/")
			}
			for _, port := range row.closed {
				if _, err := l.client.try("curl", "-s", "-m", "1", "-o", "/dev/null", "http://"+lanIP+":"+port+"/"); err == nil {
					t.Errorf("a client reaches port %s of the box", port)
				}
			}
			if drops := d.status().Drops; drops["local_closed"] == 0 {
				t.Errorf("drops %v: want some as local_closed", drops)
			}
		})
	}
}

func TestTheBoxsOwnTrafficIsExempt(t *testing.T) {
	const size = 5_000_000
	for _, row := range []struct {
		name, config string
		passes       bool
	}{
		{"with default_route", "host: {default_route: true}", true},
		{"not without", "host: {default_route: false}", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, row.config)
			d := l.start()
			l.server.web(serverIP+":80", depot(size))
			said, err := l.gateway.try("sh", "-c", "curl -sS -m 5 http://"+serverIP+"/ | wc -c")
			if passed := err == nil && strings.TrimSpace(said) == fmt.Sprint(size); passed != row.passes {
				t.Fatalf("curl from the box passes: %v, want %v: %s %v", passed, row.passes, said, err)
			}
			up, _ := l.settle()
			s := d.status()
			if s.BilledBytes != 0 {
				t.Errorf("%d bytes are billed", s.BilledBytes)
			}
			if row.passes && s.ExemptBytes < size+up.bytes || !row.passes && (s.ExemptBytes != 0 || up.bytes != 0) {
				t.Errorf("%d bytes are exempt, %d arrived at the server", s.ExemptBytes, up.bytes)
			}
		})
	}
}

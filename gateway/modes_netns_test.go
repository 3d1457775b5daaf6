//go:build netns

package gateway_test

import "testing"

// makeLab makes a network, without a gateway yet.
type makeLab = func(t *testing.T, config ...string) *lab

// inBothModes runs a test with a gateway that translates and with one that bridges: test
// makes its networks by the newLab that it is given.
func inBothModes(t *testing.T, test func(t *testing.T, newLab makeLab)) {
	t.Run("route", func(t *testing.T) { test(t, newLab) })
	t.Run("bridge", func(t *testing.T) { test(t, newBridge4) })
}

// newBridge4 is newBridge whose far ends speak IPv4 alone, so that what is counted at them
// is all that comes: a kernel with IPv6 reports the groups that it is in (RFC 3810), which
// a client pays for.
func newBridge4(t *testing.T, config ...string) *lab {
	t.Helper()
	l := newBridge(t, config...)
	l.ipv4Only = true
	for _, n := range []*namespace{l.client, l.server} {
		n.setting("ipv6/conf/all/disable_ipv6", "1")
	}
	return l
}

// bridges says whether the gateway is a bridge.
func (l *lab) bridges() bool { return l.config["mode"] == "bridge" }

// nextMAC is the station that a client sends to what is farther away: the gateway, or the
// far side where the gateway is none.
func (l *lab) nextMAC() string {
	l.t.Helper()
	if l.bridges() {
		return l.macOf(l.server)
	}
	return l.portMAC("eth1").String()
}

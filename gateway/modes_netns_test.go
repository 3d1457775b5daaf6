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

// newBridge4 is newBridge whose client speaks IPv4 alone, so that what is counted of it
// is all that it sends.
func newBridge4(t *testing.T, config ...string) *lab {
	t.Helper()
	l := newBridge(t, config...)
	l.client.setting("ipv6/conf/all/disable_ipv6", "1")
	return l
}

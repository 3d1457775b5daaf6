//go:build netns

package gateway_test

import (
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// A datagram that comes while bulk of another flow waits in the forwarder's ring does
// not wait for all of it, and the bulk stays in its order.
func TestASparseFlowPassesBulkThatWaits(t *testing.T) {
	t.Parallel()
	inBothModes(t, aSparseFlowPassesBulkThatWaits)
}

func aSparseFlowPassesBulkThatWaits(t *testing.T, newLab makeLab) {
	t.Parallel()
	const bulk, size = 1000, 1200
	l := newLab(t)
	d := l.start()
	d.admit(`{"type":"time","time_secs":3600,"down_mbits":10000,"up_mbits":10000}`)
	far := l.server.listenUDP(serverIP + ":0")
	flow, sparse := l.client.listenUDP(clientIP+":0"), l.client.listenUDP(clientIP+":0")
	for _, from := range []net.PacketConn{flow, sparse} {
		mapping(t, from, far)
	}
	goOn := d.halt("forward")
	datagram := make([]byte, size)
	for i := range bulk {
		binary.BigEndian.PutUint32(datagram, uint32(i))
		_, err := flow.WriteTo(datagram, far.LocalAddr())
		check(t, err)
	}
	_, err := sparse.WriteTo([]byte("ping"), far.LocalAddr())
	check(t, err)
	goOn()
	behind := -1 // how much of the bulk came after it
	for i := 0; i < bulk || behind < 0; {
		check(t, far.SetReadDeadline(time.Now().Add(soon)))
		n, _, err := far.ReadFrom(datagram)
		if err != nil {
			t.Fatalf("after %d datagrams of %d: %v: drops %v", i, bulk, err, d.status().Drops)
		}
		if n < size {
			behind = bulk - i
			continue
		}
		if got := binary.BigEndian.Uint32(datagram); got != uint32(i) {
			t.Fatalf("datagram %d came as the %d.", got, i)
		}
		i++
	}
	if behind < bulk/2 {
		t.Errorf("%d datagrams of %d came after it", behind, bulk)
	}
}

package forwarder

import (
	"net/netip"

	"gatewayd/forwarder/link"
)

// Config holds the plain values a forwarder works by as long as it runs; those that
// may change meanwhile stand in the client table. It travels as JSON.
type Config struct {
	LAN         netip.Prefix // the gateway's own address and the LAN's prefix
	LANMAC      uint64       // of the LAN port and the host link; first octet highest
	WANMAC      uint64
	Bridge      bool // one network on both sides; WANMAC means nothing
	HostRoute   bool // the box's own traffic goes out through the WAN
	NATFlows    int  // flows in the table
	QueueMemory int  // bytes for what waits for its rate, of all workers together; 0: 32 MiB
	Single      bool // wire packets of a flow leave one by one, not joined
}

const defaultQueueMemory = 32 << 20

// Links are where frames come from and go to, by clients.LAN, WAN and Host.
type Links [3]link.Link

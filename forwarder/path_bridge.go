package forwarder

import "gatewayd/forwarder/clients"

// listBridge is list for bridge mode.
func (f *Forwarder) listBridge() {
	f.paths[clients.LAN] = []step{
		f.decode,
		f.sift,     // what no bridge passes ends; ARP, DHCP and neighbour discovery are taken aside
		f.identify, // whose frame is it? a borrowed address ends here
		f.toBox,    // the box's own MAC: to the host link
		f.admit,
		f.fit, // MTU
		f.pace,
		f.quota,
		f.send, // as it came
	}
	f.paths[clients.WAN] = []step{
		f.decode,
		f.sift,
		f.find, // the client by its MAC
		f.admit,
		f.fit,
		f.pace,
		f.quota,
		f.send,
	}
	f.paths[clients.Host] = []step{
		f.decode,
		f.answer, // the kernel's ARP, from the table, or by the WAN
		f.fromBox,
		f.fit,
		f.send,
	}
	f.pacing = [clients.NumPorts]int{clients.LAN: 6, clients.WAN: 5}
	f.routing = [clients.NumPorts]int{clients.LAN: 5, clients.WAN: 4, clients.Host: 3}
}

// bridgeSteps are the names of its steps, by port.
var bridgeSteps = [clients.NumPorts][]string{
	clients.LAN:  {"decode", "sift", "identify", "toBox", "admit", "fit", "pace", "quota", "send"},
	clients.WAN:  {"decode", "sift", "find", "admit", "fit", "pace", "quota", "send"},
	clients.Host: {"decode", "answer", "fromBox", "fit", "send"},
}

// BridgeSteps is Steps in bridge mode.
func BridgeSteps(port int) []string { return bridgeSteps[port] }

// Package ports takes network ports away from the kernel and gives them back.
// It is the privileged half of the packet path: what it opens, the forwarder
// reads and writes without any privilege.
//
// # Nouns
//
// A port is what belongs to gatewayd on one side, LAN or WAN: an Ethernet
// interface, or a TAP device. A conflict is something configured in the kernel
// that contradicts that, for instance an address on it; each conflict carries
// the command that mends it. The ingress drop is a two-instruction program that
// ends every received frame right behind the packet sockets, so that the kernel
// neither answers nor forwards what gatewayd already has. The host link is a TAP
// device through which the box itself takes part: it carries the LAN address in
// the kernel.
//
// # Life of a port that is an interface
//
//  1. Conflicts: Open refuses a port that has any, and changes nothing.
//  2. The ingress drop is attached, by TCX, or by clsact and cls_bpf before
//     kernel 6.6. A TCX program is detached by the kernel when its process
//     dies; a cls_bpf filter stays and is taken over by the next Open.
//  3. IPv6 goes off on it; what was set before is written to a file in the
//     state directory first, so that even after a kill -9 the next run knows
//     what to put back.
//  4. The link goes up, and stays up after Close.
//  5. The socket is opened and given its options before it is bound to all
//     protocols, so that not one frame arrives without a header.
//  6. Watch reports whatever changes about it while it runs, another MTU for
//     one, and that it is Lost: removed and come back, or with another MAC. One
//     that comes in its place is taken, steps 2 and 3, as soon as it is seen.
//  7. Reopen gives a restarted forwarder a fresh socket, the old one closed
//     meanwhile; 2 and 3 stay.
//  8. Close undoes 5, 3 and 2.
//
// # Life of a port that is a TAP
//
// A TAP is a cable. One end is our descriptor, with a MAC of its own; the other
// is the device in the kernel, and whoever it is given to: a bridge, a namespace,
// the kernel's own router. Nothing is put in the kernel's way there, and only
// what would make it answer or forward in gatewayd's place is a conflict. The
// device is made when there is none, outlives forwarders and restarts, and is
// the operator's to remove. Moved to another network namespace it is followed
// there, but vanishes with gatewayd, since the next run would not find it.
//
// The host link vanishes by itself when its last descriptor is closed, with its
// address and routes, so that it needs no file.
//
// # Where it acts
//
// Everything happens in the network namespace of the calling thread: a program
// with more than one namespace calls from a locked thread, and calls Close,
// Reopen, State and Watch in the namespace of Open. A Host belongs to one
// goroutine.
//
// # What it does not do
//
// It reads no frame, starts no process and no goroutine that outlives a
// call, and installs no firewall rule. It repairs no conflict: addresses and forwarding are the
// operator's.
package ports

// Package ports takes network ports away from the kernel and gives them back.
// It is the privileged half of the packet path: what it opens, the forwarder
// reads and writes without any privilege.
//
// # Nouns
//
// A port is an Ethernet interface that belongs to gatewayd: the LAN or the WAN
// side. A conflict is something configured in the kernel that contradicts that,
// for instance an address on it; each conflict carries the command that mends
// it. The ingress drop is a two-instruction program that ends every received
// frame right behind the packet sockets, so that the kernel neither answers
// nor forwards what gatewayd already has. The host link is a TAP device through
// which the box itself takes part: it carries the LAN address in the kernel.
//
// # Life of a port
//
//  1. Conflicts: Open refuses a port that has any, and changes nothing.
//  2. IPv6 goes off on it; what was set before is written to a file in the
//     state directory first, so that even after a kill -9 the next run knows
//     what to put back.
//  3. The ingress drop is attached, by TCX, or by clsact and cls_bpf before
//     kernel 6.6. A TCX program is detached by the kernel when its process
//     dies; a cls_bpf filter stays and is taken over by the next Open.
//  4. The link goes up, and stays up after Close.
//  5. The socket is opened and given its options before it is bound to all
//     protocols, so that not one frame arrives without a header.
//  6. Reopen gives a restarted forwarder a fresh socket, the old one closed
//     first; 2 to 4 stay unless the interface is a new one of the same name.
//  7. Watch reports whatever changes about it while it runs.
//  8. Close undoes 5, 3 and 2.
//
// The host link vanishes by itself when its last descriptor is closed, with its
// address and routes, so that it needs no file.
//
// # Where it acts
//
// Everything happens in the network namespace of the calling thread: a program
// with more than one namespace calls from a locked thread, and calls Close,
// Reopen and Watch in the namespace of Open. A Port or Host belongs to one
// goroutine.
//
// # What it does not do
//
// It reads no frame, starts no process and no goroutine, and installs no
// firewall rule. It repairs no conflict: addresses and forwarding are the
// operator's.
package ports

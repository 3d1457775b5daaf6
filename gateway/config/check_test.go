package config

import (
	"strings"
	"testing"
)

func TestValuesThatCannotWorkAreRefused(t *testing.T) {
	for _, row := range []refusal{
		{"a port is missing",
			wanSide,
			"gw.yaml: lan.interface: missing; name the Ethernet port towards the clients, such as eth1"},
		{"both addresses of the WAN are missing",
			lanSide + "wan: {interface: eth0}\n",
			"gw.yaml:2:1: wan.address: missing; write the box's own address and prefix on that side, such as 203.0.113.2/24, or dhcp\n" +
				"    2 | wan: {interface: eth0}\n" +
				"      | ^\n" +
				"gw.yaml:2:1: wan.gateway: missing; write the next router's address\n" +
				"    2 | wan: {interface: eth0}\n" +
				"      | ^"},
		{"an address on the WAN of a bridge",
			"mode: bridge\n" + sides,
			"gw.yaml:3:33: wan.address: mode: bridge has one network on both sides, where lan.address is the box's only address; remove wan.address\n" +
				"    3 | wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n" +
				"      |                                 ^\n" +
				"gw.yaml:3:58: wan.gateway: 203.0.113.1 is not inside lan.address 10.10.0.1/16, which is on both sides in mode: bridge; write the next router's address inside 10.10.0.0/16, such as 10.10.0.2\n" +
				"    3 | wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n" +
				"      |                                                          ^"},
		{"a lease on the WAN of a bridge",
			"mode: bridge\n" + lanSide + "wan: {interface: eth0, address: dhcp}\n",
			"gw.yaml:3:33: wan.address: mode: bridge has one network on both sides, where lan.address is the box's only address; remove wan.address\n" +
				"    3 | wan: {interface: eth0, address: dhcp}\n" +
				"      |                                 ^"},
		{"a gateway beside a lease",
			lanSide + "wan: {interface: eth0, address: dhcp, gateway: 203.0.113.1}\n",
			"gw.yaml:2:48: wan.gateway: it comes with the lease in wan.address: dhcp; remove it\n" +
				"    2 | wan: {interface: eth0, address: dhcp, gateway: 203.0.113.1}\n" +
				"      |                                                ^"},
		{"a LAN without hosts beside a lease",
			"lan: {interface: eth1, address: 10.10.0.0/16}\nwan: {interface: eth0, address: dhcp}\n",
			"gw.yaml:1:33: lan.address: 10.10.0.0 is the network's address in 10.10.0.0/16; write a host's, such as 10.10.0.1\n" +
				"    1 | lan: {interface: eth1, address: 10.10.0.0/16}\n" +
				"      |                                 ^"},
		{"forwards on a bridge",
			"mode: bridge\n" + lanSide + "wan: {interface: eth0}\nforwards: [tcp/80 to 10.10.0.5]\n",
			"gw.yaml:4:11: forwards: mode: bridge translates nothing, so every client has its own ports; remove forwards\n" +
				"    4 | forwards: [tcp/80 to 10.10.0.5]\n" +
				"      |           ^"},
		{"a bridge whose router is the box",
			"mode: bridge\n" + lanSide + "wan: {interface: eth0, gateway: 10.10.0.1}\n",
			"gw.yaml:3:33: wan.gateway: 10.10.0.1 is lan.address, this box itself; write the next router's address inside 10.10.0.0/16, such as 10.10.0.2\n" +
				"    3 | wan: {interface: eth0, gateway: 10.10.0.1}\n" +
				"      |                                 ^"},
		{"a bridge whose router is everybody",
			"mode: bridge\n" + lanSide + "wan: {interface: eth0, gateway: 10.10.255.255}\n",
			"gw.yaml:3:33: wan.gateway: 10.10.255.255 is the network's or the broadcast address in 10.10.0.0/16; write the next router's address inside 10.10.0.0/16, such as 10.10.0.2\n" +
				"    3 | wan: {interface: eth0, gateway: 10.10.255.255}\n" +
				"      |                                 ^"},
		{"a bridge with a default route to nobody",
			"mode: bridge\n" + lanSide + "wan: {interface: eth0}\nhost: {default_route: true}\n",
			"gw.yaml:4:23: wan.gateway: missing; host.default_route needs the next router's address, inside lan.address's prefix\n" +
				"    4 | host: {default_route: true}\n" +
				"      |                       ^"},
		{"too many workers",
			sides + "workers: 17\n",
			"gw.yaml:3:10: workers: 17 is out of range; write 1 to 16, or auto\n" +
				"    3 | workers: 17\n" +
				"      |          ^"},
		{"several workers and a TAP",
			lanSide + "wan: {tap: gwwan0, address: 203.0.113.2/24, gateway: 203.0.113.1}\nworkers: 2\n",
			"gw.yaml:3:10: workers: a TAP device has one queue, so wan.tap means one worker; write 1 or auto\n" +
				"    3 | workers: 2\n" +
				"      |          ^"},
		{"workers in words",
			sides + "workers: many\n",
			"gw.yaml:3:10: workers: \"many\" is not a number of workers; write one such as 2, without quotes, or auto\n" +
				"    3 | workers: many\n" +
				"      |          ^"},
		{"what is required is there as comments only",
			"lan:\n  # interface: eth1   # required\n  address: 10.10.0.1/16\n\n# The other side.\nwan:\n" +
				"  #interface: eth0\n  # address: 203.0.113.2/24\n  # gateway: 203.0.113.1\nlog:\n  # interface: eth9\n",
			"gw.yaml:2:3: lan.interface: missing; take the # away and name the Ethernet port towards the clients, such as eth1\n" +
				"    2 |   # interface: eth1   # required\n" +
				"      |   ^\n" +
				"gw.yaml:7:3: wan.interface: missing; take the # away and name the Ethernet port towards the internet, such as eth0\n" +
				"    7 |   #interface: eth0\n" +
				"      |   ^\n" +
				"gw.yaml:8:3: wan.address: missing; take the # away and write the box's own address and prefix on that side, such as 203.0.113.2/24, or dhcp\n" +
				"    8 |   # address: 203.0.113.2/24\n" +
				"      |   ^\n" +
				"gw.yaml:9:3: wan.gateway: missing; take the # away and write the next router's address\n" +
				"    9 |   # gateway: 203.0.113.1\n" +
				"      |   ^"},
		{"a comment of another section is not the key's, nor one before the section",
			"# interface: eth7\nlan:\n  address: 10.10.0.1/16\nwan:\n  # interface: eth0\n  interface: eth0\n  address: 203.0.113.2/24\n  gateway: 203.0.113.1\n",
			"gw.yaml:2:1: lan.interface: missing; name the Ethernet port towards the clients, such as eth1\n" +
				"    2 | lan:\n" +
				"      | ^"},
		{"the comment of a whole section is not a key's",
			"lan:\n# wan:\n#   interface: eth0\n" + wanSide,
			"gw.yaml:1:1: lan.interface: missing; name the Ethernet port towards the clients, such as eth1\n" +
				"    1 | lan:\n" +
				"      | ^"},
		{"a name of 16 characters",
			"lan: {interface: enp0s31f6u1u2u3u}\n" + wanSide,
			"gw.yaml:1:18: lan.interface: \"enp0s31f6u1u2u3u\" has 16 characters; a port's name has at most 15 (ip link lists them)\n" +
				"    1 | lan: {interface: enp0s31f6u1u2u3u}\n" +
				"      |                  ^"},
		{"a name with a slash",
			"lan: {interface: eth/1}\n" + wanSide,
			"gw.yaml:1:18: lan.interface: \"eth/1\" is not a port's name: it has no blank, slash or colon (ip link lists them)\n" +
				"    1 | lan: {interface: eth/1}\n" +
				"      |                  ^"},
		{"a name with a blank",
			"lan: {interface: eth 1}\n" + wanSide,
			"gw.yaml:1:18: lan.interface: \"eth 1\" is not a port's name: it has no blank, slash or colon (ip link lists them)\n" +
				"    1 | lan: {interface: eth 1}\n" +
				"      |                  ^"},
		{"a name with a colon",
			"lan: {interface: 'eth1:0'}\n" + wanSide,
			"gw.yaml:1:18: lan.interface: \"eth1:0\" is not a port's name: it has no blank, slash or colon (ip link lists them)\n" +
				"    1 | lan: {interface: 'eth1:0'}\n" +
				"      |                  ^"},
		{"the loopback",
			"lan: {interface: lo}\n" + wanSide,
			"gw.yaml:1:18: lan.interface: lo is the loopback; name the Ethernet port towards the clients, such as eth1\n" +
				"    1 | lan: {interface: lo}\n" +
				"      |                  ^"},
		{"an empty name",
			"lan: {interface: ''}\n" + wanSide,
			"gw.yaml:1:18: lan.interface: missing; name the Ethernet port towards the clients, such as eth1\n" +
				"    1 | lan: {interface: ''}\n" +
				"      |                  ^"},
		{"the same port on both sides",
			"lan: {interface: eth0}\n" + wanSide,
			"gw.yaml:2:18: wan.interface: eth0 is lan.interface already; the two sides need two ports\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n" +
				"      |                  ^"},
		{"an interface and a TAP on one side",
			"lan: {interface: eth1, tap: gw0}\n" + wanSide,
			"gw.yaml:1:29: lan.tap: lan.interface is set too, and a side has one port; remove one of them\n" +
				"    1 | lan: {interface: eth1, tap: gw0}\n" +
				"      |                             ^"},
		{"the same TAP on both sides",
			"lan: {tap: gw0}\nwan: {tap: gw0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n",
			"gw.yaml:2:12: wan.tap: gw0 is lan.tap already; the two sides need two ports\n" +
				"    2 | wan: {tap: gw0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n" +
				"      |            ^"},
		{"a TAP and an interface of the same name",
			"lan: {tap: eth0}\n" + wanSide,
			"gw.yaml:2:18: wan.interface: eth0 is lan.tap already; the two sides need two ports\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n" +
				"      |                  ^"},
		{"a TAP's name that the kernel would cut",
			"lan: {tap: gwlan0123456789a}\n" + wanSide,
			"gw.yaml:1:12: lan.tap: \"gwlan0123456789a\" has 16 characters; a port's name has at most 15 (ip link lists them)\n" +
				"    1 | lan: {tap: gwlan0123456789a}\n" +
				"      |            ^"},
		{"a TAP's name with a slash",
			"lan: {tap: gw/0}\n" + wanSide,
			"gw.yaml:1:12: lan.tap: \"gw/0\" is not a port's name: it has no blank, slash or colon (ip link lists them)\n" +
				"    1 | lan: {tap: gw/0}\n" +
				"      |            ^"},
		{"a TAP's name that the kernel would count up",
			"lan: {tap: gw%d}\n" + wanSide,
			"gw.yaml:1:12: lan.tap: \"gw%d\" is a pattern to the kernel; write the name itself, such as gwtap0\n" +
				"    1 | lan: {tap: gw%d}\n" +
				"      |            ^"},
		{"a TAP's name that is the host link's",
			"lan: {tap: gw-host}\n" + wanSide,
			"gw.yaml:1:12: lan.tap: gw-host is the box's own link to the clients; use another name, such as gwtap0\n" +
				"    1 | lan: {tap: gw-host}\n" +
				"      |            ^"},
		{"TAPs' names that stand for all interfaces",
			"lan: {tap: all}\nwan: {tap: lo, address: 203.0.113.2/24, gateway: 203.0.113.1}\n",
			"gw.yaml:1:12: lan.tap: all stands for every interface in the kernel's settings; use another name, such as gwtap0\n" +
				"    1 | lan: {tap: all}\n" +
				"      |            ^\n" +
				"gw.yaml:2:12: wan.tap: lo is the loopback; use another name, such as gwtap0\n" +
				"    2 | wan: {tap: lo, address: 203.0.113.2/24, gateway: 203.0.113.1}\n" +
				"      |            ^"},
		{"a TAP without a name",
			"lan: {tap: }\n" + wanSide,
			"gw.yaml:1:7: lan.tap: it has no value; write one or remove it\n" +
				"    1 | lan: {tap: }\n" +
				"      |       ^"},
		{"an address without its prefix length",
			"lan: {interface: eth1, address: 10.10.0.1}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 10.10.0.1 lacks its prefix length; write it such as 10.10.0.1/24\n" +
				"    1 | lan: {interface: eth1, address: 10.10.0.1}\n" +
				"      |                                 ^"},
		{"an address that is none",
			"lan: {interface: eth1, address: 10.10.0.300/16}\n" + wanSide,
			"gw.yaml:1:33: lan.address: \"10.10.0.300/16\" is not an address with a prefix length; write it such as 10.10.0.1/16\n" +
				"    1 | lan: {interface: eth1, address: 10.10.0.300/16}\n" +
				"      |                                 ^"},
		{"an IPv6 address",
			"lan: {interface: eth1, address: fd00::1/64}\n" + wanSide,
			"gw.yaml:1:33: lan.address: fd00::1/64 is not IPv4; gatewayd forwards IPv4\n" +
				"    1 | lan: {interface: eth1, address: fd00::1/64}\n" +
				"      |                                 ^"},
		{"the network's address",
			"lan: {interface: eth1, address: 10.10.0.0/16}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 10.10.0.0 is the network's address in 10.10.0.0/16; write a host's, such as 10.10.0.1\n" +
				"    1 | lan: {interface: eth1, address: 10.10.0.0/16}\n" +
				"      |                                 ^"},
		{"the broadcast address",
			"lan: {interface: eth1, address: 10.10.255.255/16}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 10.10.255.255 is the broadcast address in 10.10.0.0/16; write a host's, such as 10.10.0.1\n" +
				"    1 | lan: {interface: eth1, address: 10.10.255.255/16}\n" +
				"      |                                 ^"},
		{"a multicast address",
			"lan: {interface: eth1, address: 224.0.0.1/24}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 224.0.0.1 is a multicast address and cannot be a host's own\n" +
				"    1 | lan: {interface: eth1, address: 224.0.0.1/24}\n" +
				"      |                                 ^"},
		{"a loopback address",
			"lan: {interface: eth1, address: 127.0.0.1/8}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 127.0.0.1 is a loopback address and never leaves the box\n" +
				"    1 | lan: {interface: eth1, address: 127.0.0.1/8}\n" +
				"      |                                 ^"},
		{"a link-local address",
			"lan: {interface: eth1, address: 169.254.1.1/16}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 169.254.1.1 is link-local and must not be forwarded (RFC 3927)\n" +
				"    1 | lan: {interface: eth1, address: 169.254.1.1/16}\n" +
				"      |                                 ^"},
		{"an address of this network",
			"lan: {interface: eth1, address: 0.0.0.1/8}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 0.0.0.1 is reserved and cannot be a host's address (RFC 6890)\n" +
				"    1 | lan: {interface: eth1, address: 0.0.0.1/8}\n" +
				"      |                                 ^"},
		{"a reserved address",
			"lan: {interface: eth1, address: 250.0.0.1/8}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 250.0.0.1 is reserved and cannot be a host's address (RFC 6890)\n" +
				"    1 | lan: {interface: eth1, address: 250.0.0.1/8}\n" +
				"      |                                 ^"},
		{"a LAN of two addresses",
			"lan: {interface: eth1, address: 10.10.0.0/31}\n" + wanSide,
			"gw.yaml:1:33: lan.address: the prefix length /31 is out of range; write /8 to /30\n" +
				"    1 | lan: {interface: eth1, address: 10.10.0.0/31}\n" +
				"      |                                 ^"},
		{"a LAN larger than any",
			"lan: {interface: eth1, address: 10.10.0.1/7}\n" + wanSide,
			"gw.yaml:1:33: lan.address: the prefix length /7 is out of range; write /8 to /30\n" +
				"    1 | lan: {interface: eth1, address: 10.10.0.1/7}\n" +
				"      |                                 ^"},
		{"a WAN of one address",
			lanSide + "wan: {interface: eth0, address: 203.0.113.2/32, gateway: 203.0.113.1}\n",
			"gw.yaml:2:33: wan.address: the prefix length /32 is out of range; write /8 to /31\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/32, gateway: 203.0.113.1}\n" +
				"      |                                 ^"},
		{"the sides overlap",
			"lan: {interface: eth1, address: 203.0.113.129/25}\n" + wanSide,
			"gw.yaml:1:33: lan.address: 203.0.113.129/25 overlaps wan.address 203.0.113.2/24, so nobody could say which side an address is on; use another prefix for the clients, such as 10.10.0.1/16\n" +
				"    1 | lan: {interface: eth1, address: 203.0.113.129/25}\n" +
				"      |                                 ^"},
		{"the default LAN overlaps what is written for the WAN",
			lanSide + "wan: {interface: eth0, address: 10.10.3.2/24, gateway: 10.10.3.1}\n",
			"gw.yaml:2:33: lan.address: 10.10.0.1/16 overlaps wan.address 10.10.3.2/24, so nobody could say which side an address is on; use another prefix for the clients, such as 172.20.0.1/16\n" +
				"    2 | wan: {interface: eth0, address: 10.10.3.2/24, gateway: 10.10.3.1}\n" +
				"      |                                 ^"},
		{"a second WAN address of another prefix",
			lanSide + "wan: {interface: eth0, address: [203.0.113.2/24, 203.0.114.3/24], gateway: 203.0.113.1}\n",
			"gw.yaml:2:50: wan.address[1]: 203.0.114.3/24 is not in 203.0.113.0/24 as the first is; all are in one prefix, whose length each has: write it as the others, or remove it\n" +
				"    2 | wan: {interface: eth0, address: [203.0.113.2/24, 203.0.114.3/24], gateway: 203.0.113.1}\n" +
				"      |                                                  ^"},
		{"a second WAN address of another length",
			lanSide + "wan: {interface: eth0, address: [203.0.113.2/24, 203.0.113.3/25], gateway: 203.0.113.1}\n",
			"gw.yaml:2:50: wan.address[1]: 203.0.113.3/25 is not in 203.0.113.0/24 as the first is; all are in one prefix, whose length each has: write it as the others, or remove it\n" +
				"    2 | wan: {interface: eth0, address: [203.0.113.2/24, 203.0.113.3/25], gateway: 203.0.113.1}\n" +
				"      |                                                  ^"},
		{"a WAN address twice, on lines of their own",
			lanSide + "wan:\n  interface: eth0\n  address:\n    - 203.0.113.2/24\n    - 203.0.113.2/24\n  gateway: 203.0.113.1\n",
			"gw.yaml:6:7: wan.address[1]: 203.0.113.2 is in the list already; remove one\n" +
				"    6 |     - 203.0.113.2/24\n" +
				"      |       ^"},
		{"a WAN address in a list that is none",
			lanSide + "wan: {interface: eth0, address: [203.0.113.2/24, 203.0.113.255/24, dhcp], gateway: 203.0.113.1}\n",
			"gw.yaml:2:50: wan.address[1]: 203.0.113.255 is the broadcast address in 203.0.113.0/24; write a host's, such as 203.0.113.1\n" +
				"    2 | wan: {interface: eth0, address: [203.0.113.2/24, 203.0.113.255/24, dhcp], gateway: 203.0.113.1}\n" +
				"      |                                                  ^\n" +
				"gw.yaml:2:68: wan.address[2]: \"dhcp\" is not an address with a prefix length; write it such as 203.0.113.2/24\n" +
				"    2 | wan: {interface: eth0, address: [203.0.113.2/24, 203.0.113.255/24, dhcp], gateway: 203.0.113.1}\n" +
				"      |                                                                    ^"},
		{"a lease alone in a list",
			lanSide + "wan: {interface: eth0, address: [dhcp]}\n",
			"gw.yaml:2:34: wan.address[0]: \"dhcp\" is not an address with a prefix length; write it such as 203.0.113.2/24\n" +
				"    2 | wan: {interface: eth0, address: [dhcp]}\n" +
				"      |                                  ^"},
		{"the gateway is among the WAN addresses",
			lanSide + "wan: {interface: eth0, address: [203.0.113.2/24, 203.0.113.1/24], gateway: 203.0.113.1}\n",
			"gw.yaml:2:76: wan.gateway: 203.0.113.1 is wan.address, this box itself; write the next router's address inside 203.0.113.0/24, such as 203.0.113.3\n" +
				"    2 | wan: {interface: eth0, address: [203.0.113.2/24, 203.0.113.1/24], gateway: 203.0.113.1}\n" +
				"      |                                                                            ^"},
		{"all hosts of the WAN's prefix",
			lanSide + "wan: {interface: eth0, address: [203.0.113.2/31, 203.0.113.3/31], gateway: 203.0.113.3}\n",
			"gw.yaml:2:33: wan.address: 2 addresses leave none in 203.0.113.2/31 for the next router; remove one\n" +
				"    2 | wan: {interface: eth0, address: [203.0.113.2/31, 203.0.113.3/31], gateway: 203.0.113.3}\n" +
				"      |                                 ^"},
		{"no WAN address in a list",
			lanSide + "wan: {interface: eth0, address: [], gateway: 203.0.113.1}\n",
			"gw.yaml:2:33: wan.address: missing; write the box's own address and prefix on that side, such as 203.0.113.2/24, or dhcp\n" +
				"    2 | wan: {interface: eth0, address: [], gateway: 203.0.113.1}\n" +
				"      |                                 ^"},
		{"more WAN addresses than there may be",
			lanSide + "wan: {interface: eth0, address: [" + strings.Repeat("203.0.113.2/24, ", 17) + "], gateway: 203.0.113.1}\n",
			"gw.yaml:2:33: wan.address: 17 addresses are more than 16; remove some\n" +
				"    2 | wan: {interface: eth0, address: [203.0.113.2/24, 203.0.113.2/24, 203.0.113.2/24, 203.0.113.2/24, 203…\n" +
				"      |                                 ^"},
		{"no gateway",
			lanSide + "wan: {interface: eth0, address: 203.0.113.2/24}\n",
			"gw.yaml:2:33: wan.gateway: missing; write the next router's address inside 203.0.113.0/24, such as 203.0.113.1\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/24}\n" +
				"      |                                 ^"},
		{"no gateway where only one is possible",
			lanSide + "wan: {interface: eth0, address: 203.0.113.2/31}\n",
			"gw.yaml:2:33: wan.gateway: missing; write 203.0.113.3, the only other host in 203.0.113.2/31\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/31}\n" +
				"      |                                 ^"},
		{"a gateway outside the prefix",
			lanSide + "wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.114.1}\n",
			"gw.yaml:2:58: wan.gateway: 203.0.114.1 is not inside wan.address 203.0.113.2/24; write the next router's address inside 203.0.113.0/24, such as 203.0.113.1\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.114.1}\n" +
				"      |                                                          ^"},
		{"the gateway is the box",
			lanSide + "wan: {interface: eth0, address: 203.0.113.1/24, gateway: 203.0.113.1}\n",
			"gw.yaml:2:58: wan.gateway: 203.0.113.1 is wan.address, this box itself; write the next router's address inside 203.0.113.0/24, such as 203.0.113.2\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.1/24, gateway: 203.0.113.1}\n" +
				"      |                                                          ^"},
		{"the gateway is the broadcast address",
			lanSide + "wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.255}\n",
			"gw.yaml:2:58: wan.gateway: 203.0.113.255 is the network's or the broadcast address in 203.0.113.0/24; write the next router's address inside 203.0.113.0/24, such as 203.0.113.1\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.255}\n" +
				"      |                                                          ^"},
		{"the gateway is the network's address",
			lanSide + "wan: {interface: eth0, address: 203.0.113.2/30, gateway: 203.0.113.0}\n",
			"gw.yaml:2:58: wan.gateway: 203.0.113.0 is the network's or the broadcast address in 203.0.113.0/30; write 203.0.113.1, the only other host in 203.0.113.0/30\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/30, gateway: 203.0.113.0}\n" +
				"      |                                                          ^"},
		{"a gateway with a prefix length",
			lanSide + "wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1/24}\n",
			"gw.yaml:2:58: wan.gateway: 203.0.113.1/24 has a prefix length, which belongs to wan.address; write 203.0.113.1\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1/24}\n" +
				"      |                                                          ^"},
		{"a gateway that is no address",
			lanSide + "wan: {interface: eth0, address: 203.0.113.2/24, gateway: router}\n",
			"gw.yaml:2:58: wan.gateway: \"router\" is not an IPv4 address; write it such as 203.0.113.1\n" +
				"    2 | wan: {interface: eth0, address: 203.0.113.2/24, gateway: router}\n" +
				"      |                                                          ^"},
		{"neither true nor false",
			sides + "host: {default_route: yes}\n",
			"gw.yaml:3:23: host.default_route: \"yes\" is neither true nor false; write true or false, without quotes\n" +
				"    3 | host: {default_route: yes}\n" +
				"      |                       ^"},
		{"a quoted truth",
			sides + "host: {default_route: \"true\"}\n",
			"gw.yaml:3:23: host.default_route: \"true\" is neither true nor false; write true or false, without quotes\n" +
				"    3 | host: {default_route: \"true\"}\n" +
				"      |                       ^"},
		{"ports neither all, none nor a list",
			sides + "host: {ports: some}\n",
			"gw.yaml:3:15: host.ports: \"some\" is not known; write all, none or a list such as [tcp/80, udp/53, tcp/8000-8010]\n" +
				"    3 | host: {ports: some}\n" +
				"      |               ^"},
		{"one port outside a list",
			sides + "host: {ports: tcp/80}\n",
			"gw.yaml:3:15: host.ports: one port is a list too; write [tcp/80]\n" +
				"    3 | host: {ports: tcp/80}\n" +
				"      |               ^"},
		{"wrong entries of a list, each at its place",
			sides + "host:\n  ports:\n    - tcp/80\n    - 22\n    - icmp/8\n    - ~\n    - tcp/90-80\n    - tcp/0\n    - tcp/65536\n    - ssh\n    - all\n    - [tcp/1]\n",
			"gw.yaml:6:7: host.ports[1]: \"22\" lacks a protocol; write tcp/22 or udp/22\n" +
				"    6 |     - 22\n" +
				"      |       ^\n" +
				"gw.yaml:7:7: host.ports[2]: \"icmp\" is not a protocol with ports; use tcp or udp\n" +
				"    7 |     - icmp/8\n" +
				"      |       ^\n" +
				"gw.yaml:8:7: host.ports[3]: it has no value; write one or remove it\n" +
				"    8 |     - ~\n" +
				"      |       ^\n" +
				"gw.yaml:9:7: host.ports[4]: 90-80 runs backwards; write tcp/80-90\n" +
				"    9 |     - tcp/90-80\n" +
				"      |       ^\n" +
				"gw.yaml:10:7: host.ports[5]: ports go from 1 to 65535\n" +
				"   10 |     - tcp/0\n" +
				"      |       ^\n" +
				"gw.yaml:11:7: host.ports[6]: \"65536\" is not a port from 1 to 65535, or two with a dash; write it as tcp/80 or tcp/8000-8010\n" +
				"   11 |     - tcp/65536\n" +
				"      |       ^\n" +
				"gw.yaml:12:7: host.ports[7]: \"ssh\" is not a port; write it as tcp/80, udp/53 or tcp/8000-8010\n" +
				"   12 |     - ssh\n" +
				"      |       ^\n" +
				"gw.yaml:13:7: host.ports[8]: all stands alone; write ports: all, without a list\n" +
				"   13 |     - all\n" +
				"      |       ^\n" +
				"gw.yaml:14:7: host.ports[9]: one value is wanted here, not a list or a section\n" +
				"   14 |     - [tcp/1]\n" +
				"      |       ^"},
		{"a feature of the kernel outside a list",
			sides + "kernel: {without: ring}\n",
			"gw.yaml:3:19: kernel.without: \"ring\" is not a list; write [ring], or [] for none\n" +
				"    3 | kernel: {without: ring}\n" +
				"      |                   ^"},
		{"a feature of the kernel that gatewayd cannot do without",
			sides + "kernel: {without: [tcx, tun]}\n",
			"gw.yaml:3:25: kernel.without[1]: \"tun\" is not known; it can be tcx, ring, transmit_ring, joining, tap_udp, landlock\n" +
				"    3 | kernel: {without: [tcx, tun]}\n" +
				"      |                         ^"},
		{"a speed without its unit",
			sides + "bandwidth: {global: {down: 10, up: 10}}\n",
			"gw.yaml:3:28: bandwidth.global.down: \"10\" is not a speed: its unit is missing; write 10 Mbit if that is meant\n" +
				"    3 | bandwidth: {global: {down: 10, up: 10}}\n" +
				"      |                            ^\n" +
				"gw.yaml:3:36: bandwidth.global.up: \"10\" is not a speed: its unit is missing; write 10 Mbit if that is meant\n" +
				"    3 | bandwidth: {global: {down: 10, up: 10}}\n" +
				"      |                                    ^"},
		{"a speed in an unknown unit",
			sides + "bandwidth: {global: {down: 5 Mbps}}\n",
			"gw.yaml:3:28: bandwidth.global.down: \"5 Mbps\" is not a speed: \"Mbps\" is not one of its units bit, kbit, Mbit and Gbit; write it as 5 Mbit\n" +
				"    3 | bandwidth: {global: {down: 5 Mbps}}\n" +
				"      |                            ^"},
		{"a speed below and one above what is possible",
			sides + "bandwidth: {global: {down: 1 kbit, up: 200 Gbit}}\n",
			"gw.yaml:3:28: bandwidth.global.down: 1 kbit is out of range; write 64 kbit to 100 Gbit, or 0 for unlimited\n" +
				"    3 | bandwidth: {global: {down: 1 kbit, up: 200 Gbit}}\n" +
				"      |                            ^\n" +
				"gw.yaml:3:40: bandwidth.global.up: 200 Gbit is out of range; write 64 kbit to 100 Gbit, or 0 for unlimited\n" +
				"    3 | bandwidth: {global: {down: 1 kbit, up: 200 Gbit}}\n" +
				"      |                                        ^"},
		{"a negative speed",
			sides + "bandwidth: {global: {down: -5 Mbit}}\n",
			"gw.yaml:3:28: bandwidth.global.down: \"-5 Mbit\" is not a speed: it must not be negative\n" +
				"    3 | bandwidth: {global: {down: -5 Mbit}}\n" +
				"      |                            ^"},
		{"a relative store",
			sides + "store: {path: data}\n",
			"gw.yaml:3:15: store.path: \"data\" is not an absolute path; write one such as /var/lib/gatewayd\n" +
				"    3 | store: {path: data}\n" +
				"      |               ^"},
		{"the root as a store",
			sides + "store: {path: /}\n",
			"gw.yaml:3:15: store.path: / cannot be the store's own directory; write one such as /var/lib/gatewayd\n" +
				"    3 | store: {path: /}\n" +
				"      |               ^"},
		{"an empty store",
			sides + "store: {path: ''}\n",
			"gw.yaml:3:15: store.path: empty; write an absolute path such as /var/lib/gatewayd\n" +
				"    3 | store: {path: ''}\n" +
				"      |               ^"},
		{"a store with a control character",
			sides + "store: {path: \"/a\\0b\"}\n",
			"gw.yaml:3:15: store.path: \"/a\\x00b\" has a control character; write a path such as /var/lib/gatewayd\n" +
				"    3 | store: {path: \"/a\\0b\"}\n" +
				"      |               ^"},
		{"a checkpoint without its unit",
			sides + "store: {checkpoint: 5}\n",
			"gw.yaml:3:21: store.checkpoint: \"5\" is not a duration: its unit is missing; write 5s if that is meant\n" +
				"    3 | store: {checkpoint: 5}\n" +
				"      |                     ^"},
		{"a ledger that is not kept",
			sides + "sessions: {ledger_keep: 0}\n",
			"gw.yaml:3:25: sessions.ledger_keep: 0 is out of range; write 1h to 3650d\n" +
				"    3 | sessions: {ledger_keep: 0}\n" +
				"      |                         ^"},
		{"a ledger that is kept for ever",
			sides + "sessions: {ledger_keep: 3651d}\n",
			"gw.yaml:3:25: sessions.ledger_keep: 3651d is out of range; write 1h to 3650d\n" +
				"    3 | sessions: {ledger_keep: 3651d}\n" +
				"      |                         ^"},
		{"an idle pause at once",
			sides + "sessions: {idle_pause: 500ms}\n",
			"gw.yaml:3:24: sessions.idle_pause: 500ms is out of range; write 1s to 7d, or 0 for never\n" +
				"    3 | sessions: {idle_pause: 500ms}\n" +
				"      |                        ^"},
		{"a router that may be silent for less than it is asked",
			sides + "sessions: {pause_on_silent_gateway: 4s}\n",
			"gw.yaml:3:37: sessions.pause_on_silent_gateway: 4s is out of range; write 5s to 1h, or 0 for never\n" +
				"    3 | sessions: {pause_on_silent_gateway: 4s}\n" +
				"      |                                     ^"},
		{"a carrier loss that is a time",
			sides + "sessions: {pause_on_carrier_loss: 5s}\n",
			"gw.yaml:3:35: sessions.pause_on_carrier_loss: \"5s\" is neither true nor false; write true or false, without quotes\n" +
				"    3 | sessions: {pause_on_carrier_loss: 5s}\n" +
				"      |                                   ^"},
		{"a checkpoint too often",
			sides + "store: {checkpoint: 500ms}\n",
			"gw.yaml:3:21: store.checkpoint: 500ms is out of range; write 1s to 10m\n" +
				"    3 | store: {checkpoint: 500ms}\n" +
				"      |                     ^"},
		{"a checkpoint too rarely",
			sides + "store: {checkpoint: 1h}\n",
			"gw.yaml:3:21: store.checkpoint: 1h is out of range; write 1s to 10m\n" +
				"    3 | store: {checkpoint: 1h}\n" +
				"      |                     ^"},
		{"a relative socket",
			sides + "api: {socket: gatewayd.sock}\n",
			"gw.yaml:3:15: api.socket: \"gatewayd.sock\" is not an absolute path; write one such as /run/gatewayd/gatewayd.sock\n" +
				"    3 | api: {socket: gatewayd.sock}\n" +
				"      |               ^"},
		{"an abstract socket",
			sides + "api: {socket: \"@gatewayd\"}\n",
			"gw.yaml:3:15: api.socket: \"@gatewayd\" is not an absolute path; write one such as /run/gatewayd/gatewayd.sock\n" +
				"    3 | api: {socket: \"@gatewayd\"}\n" +
				"      |               ^"},
		{"a socket that is a directory",
			sides + "api: {socket: /run/gatewayd/}\n",
			"gw.yaml:3:15: api.socket: \"/run/gatewayd/\" is a directory; write a file such as /run/gatewayd/gatewayd.sock\n" +
				"    3 | api: {socket: /run/gatewayd/}\n" +
				"      |               ^"},
		{"a socket longer than the kernel takes",
			sides + "api: {socket: /run/" + strings.Repeat("x", 103) + "}\n",
			"gw.yaml:3:15: api.socket: the path has 108 bytes; a Unix socket's has at most 107\n" +
				"    3 | api: {socket: /run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\n" +
				"      |               ^"},
		{"metrics on a port alone",
			sides + "metrics: {listen: 9464}\n",
			"gw.yaml:3:19: metrics.listen: \"9464\" is not an address and a port; write them such as 127.0.0.1:9464, or \"\" to serve none\n" +
				"    3 | metrics: {listen: 9464}\n" +
				"      |                   ^"},
		{"metrics without an address",
			sides + "metrics:\n  listen: :9464\n",
			"gw.yaml:4:11: metrics.listen: \":9464\" has no address; write 0.0.0.0:9464 for all of the box's, or 127.0.0.1:9464 for the box alone\n" +
				"    4 |   listen: :9464\n" +
				"      |           ^"},
		{"metrics without a port",
			sides + "metrics: {listen: \"::1\"}\n",
			"gw.yaml:3:19: metrics.listen: \"::1\" has no port; write [::1]:9464\n" +
				"    3 | metrics: {listen: \"::1\"}\n" +
				"      |                   ^"},
		{"metrics on a name",
			sides + "metrics: {listen: localhost:9464}\n",
			"gw.yaml:3:19: metrics.listen: \"localhost:9464\" is not an address and a port; write them such as 127.0.0.1:9464, or \"\" to serve none\n" +
				"    3 | metrics: {listen: localhost:9464}\n" +
				"      |                   ^"},
		{"metrics on port 0",
			sides + "metrics: {listen: 127.0.0.1:0}\n",
			"gw.yaml:3:19: metrics.listen: port 0 is none; write one such as 127.0.0.1:9464\n" +
				"    3 | metrics: {listen: 127.0.0.1:0}\n" +
				"      |                   ^"},
		{"metrics on the WAN",
			sides + "metrics: {listen: 203.0.113.2:9464}\n",
			"gw.yaml:3:19: metrics.listen: 203.0.113.2 is wan.address, where gatewayd serves nothing; write an address such as 127.0.0.1:9464\n" +
				"    3 | metrics: {listen: 203.0.113.2:9464}\n" +
				"      |                   ^"},
		{"metrics switched off by a word",
			sides + "metrics: {listen: off}\n",
			"gw.yaml:3:19: metrics.listen: \"off\" is not an address and a port; write them such as 127.0.0.1:9464, or \"\" to serve none\n" +
				"    3 | metrics: {listen: off}\n" +
				"      |                   ^"},
		{"the socket is the store",
			sides + "api: {socket: /var/lib/gatewayd}\n",
			"gw.yaml:3:15: api.socket: /var/lib/gatewayd is store.path, a directory; write a file such as /run/gatewayd/gatewayd.sock\n" +
				"    3 | api: {socket: /var/lib/gatewayd}\n" +
				"      |               ^"},
		{"a filtering that is none",
			sides + "nat: {filtering: adress}\n",
			"gw.yaml:3:18: nat.filtering: \"adress\" is not known; did you mean address? (it can be endpoint-independent, address, address-and-port)\n" +
				"    3 | nat: {filtering: adress}\n" +
				"      |                  ^"},
		{"an unknown level with a near one",
			sides + "log: {level: Info, format: xml}\n",
			"gw.yaml:3:14: log.level: \"Info\" is not known; did you mean info? (it can be debug, info, warn, error)\n" +
				"    3 | log: {level: Info, format: xml}\n" +
				"      |              ^\n" +
				"gw.yaml:3:28: log.format: \"xml\" is not known; it can be text, json\n" +
				"    3 | log: {level: Info, format: xml}\n" +
				"      |                            ^"},
		{"no clients",
			sides + "limits: {clients: 0}\n",
			"gw.yaml:3:19: limits.clients: 0 is out of range; write 1 to 16384\n" +
				"    3 | limits: {clients: 0}\n" +
				"      |                   ^"},
		{"too many clients",
			sides + "limits: {clients: 16385}\n",
			"gw.yaml:3:19: limits.clients: 16385 is out of range; write 1 to 16384\n" +
				"    3 | limits: {clients: 16385}\n" +
				"      |                   ^"},
		{"too few and too many flows",
			sides + "limits: {nat_flows: 63, flows_per_client: 0}\n",
			"gw.yaml:3:21: limits.nat_flows: 63 is out of range; write 64 to 1048576\n" +
				"    3 | limits: {nat_flows: 63, flows_per_client: 0}\n" +
				"      |                     ^\n" +
				"gw.yaml:3:43: limits.flows_per_client: 0 is out of range; write 1 to 1048576\n" +
				"    3 | limits: {nat_flows: 63, flows_per_client: 0}\n" +
				"      |                                           ^"},
		{"more flows than the table has room for",
			sides + "limits: {nat_flows: 1048577}\n",
			"gw.yaml:3:21: limits.nat_flows: 1048577 is out of range; write 64 to 1048576\n" +
				"    3 | limits: {nat_flows: 1048577}\n" +
				"      |                     ^"},
		{"one client's flows are more than all",
			sides + "limits: {nat_flows: 1000, flows_per_client: 1001}\n",
			"gw.yaml:3:45: limits.flows_per_client: one client's 1001 flows are more than limits.nat_flows, which is 1000 for all clients; lower it, or raise limits.nat_flows\n" +
				"    3 | limits: {nat_flows: 1000, flows_per_client: 1001}\n" +
				"      |                                             ^"},
		{"a lowered table meets the default of one client",
			sides + "limits: {nat_flows: 1000}\n",
			"gw.yaml:3:21: limits.flows_per_client: one client's 4096 flows are more than limits.nat_flows, which is 1000 for all clients; lower it, or raise limits.nat_flows\n" +
				"    3 | limits: {nat_flows: 1000}\n" +
				"      |                     ^"},
		{"more ports than there are",
			sides + "limits: {ports_per_client: 64513}\n",
			"gw.yaml:3:28: limits.ports_per_client: 64513 is out of range; write 1 to 64512\n" +
				"    3 | limits: {ports_per_client: 64513}\n" +
				"      |                            ^"},
		{"too little memory for what waits, a total that is too slow and one that is too fast",
			sides + "limits: {queue_memory: 512 kB}\nbandwidth: {total: {down: 1 kbit, up: 200 Gbit}}\n",
			"gw.yaml:3:24: limits.queue_memory: 512 kB is out of range; write 1 MB to 1 GB\n" +
				"    3 | limits: {queue_memory: 512 kB}\n" +
				"      |                        ^\n" +
				"gw.yaml:4:27: bandwidth.total.down: 1 kbit is out of range; write 64 kbit to 100 Gbit, or 0 for unlimited\n" +
				"    4 | bandwidth: {total: {down: 1 kbit, up: 200 Gbit}}\n" +
				"      |                           ^\n" +
				"gw.yaml:4:39: bandwidth.total.up: 200 Gbit is out of range; write 64 kbit to 100 Gbit, or 0 for unlimited\n" +
				"    4 | bandwidth: {total: {down: 1 kbit, up: 200 Gbit}}\n" +
				"      |                                       ^"},
		{"memory for what waits without its unit",
			sides + "limits: {queue_memory: 32}\n",
			"gw.yaml:3:24: limits.queue_memory: \"32\" is not an amount of data: its unit is missing; write 32 MB if that is meant\n" +
				"    3 | limits: {queue_memory: 32}\n" +
				"      |                        ^"},
		{"a number with a unit, a fraction, a sign, quotes, or too large",
			sides + "limits: {clients: 4k, nat_flows: 1e5, flows_per_client: 1.5, ports_per_client: \"5\"}\n",
			"gw.yaml:3:19: limits.clients: \"4k\" is not a whole number; write one such as 4096, without quotes, unit or exponent\n" +
				"    3 | limits: {clients: 4k, nat_flows: 1e5, flows_per_client: 1.5, ports_per_client: \"5\"}\n" +
				"      |                   ^\n" +
				"gw.yaml:3:34: limits.nat_flows: \"1e5\" is not a whole number; write one such as 4096, without quotes, unit or exponent\n" +
				"    3 | limits: {clients: 4k, nat_flows: 1e5, flows_per_client: 1.5, ports_per_client: \"5\"}\n" +
				"      |                                  ^\n" +
				"gw.yaml:3:57: limits.flows_per_client: \"1.5\" is not a whole number; write one such as 4096, without quotes, unit or exponent\n" +
				"    3 | limits: {clients: 4k, nat_flows: 1e5, flows_per_client: 1.5, ports_per_client: \"5\"}\n" +
				"      |                                                         ^\n" +
				"gw.yaml:3:80: limits.ports_per_client: \"5\" is not a whole number; write one such as 4096, without quotes, unit or exponent\n" +
				"    3 | limits: {clients: 4k, nat_flows: 1e5, flows_per_client: 1.5, ports_per_client: \"5\"}\n" +
				"      |                                                                                ^"},
		{"a number beyond 32 bits",
			sides + "limits: {clients: 4294967297}\n",
			"gw.yaml:3:19: limits.clients: 4294967297 is far out of range; write a number such as 4096\n" +
				"    3 | limits: {clients: 4294967297}\n" +
				"      |                   ^"},
	} {
		t.Run(row.name, row.run)
	}
}

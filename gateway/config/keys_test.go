package config

import (
	"strings"
	"testing"
)

func TestKeysAreHeldToTheTable(t *testing.T) {
	for _, row := range []refusal{
		{"an unknown key with a near one",
			"lan: {interface: eth1, adress: 10.0.0.1/16}\n" + wanSide,
			"gw.yaml:1:24: lan.adress: unknown key; did you mean address?\n" +
				"    1 | lan: {interface: eth1, adress: 10.0.0.1/16}\n" +
				"      |                        ^"},
		{"an unknown section with a near one, whose keys are not called missing",
			"lna: {interface: eth1}\n" + wanSide,
			"gw.yaml:1:1: lna: unknown key; did you mean lan?\n" +
				"    1 | lna: {interface: eth1}\n" +
				"      | ^"},
		{"an unknown key with none near",
			sides + "colour: red\n",
			"gw.yaml:3:1: colour: unknown key; at the top of the file there can be mode, workers, lan, wan, host, nat, forwards, bandwidth, sessions, store, api, metrics, log, limits, kernel\n" +
				"    3 | colour: red\n" +
				"      | ^"},
		{"a key that belongs elsewhere",
			sides + "interface: eth1\n",
			"gw.yaml:3:1: interface: unknown key at the top of the file; did you mean lan.interface or wan.interface?\n" +
				"    3 | interface: eth1\n" +
				"      | ^"},
		{"a key in the wrong section",
			sides + "host: {gateway: 10.0.0.1}\n",
			"gw.yaml:3:8: host.gateway: unknown key under host; did you mean wan.gateway?\n" +
				"    3 | host: {gateway: 10.0.0.1}\n" +
				"      |        ^"},
		{"a dotted key",
			sides + "log.level: info\n",
			"gw.yaml:3:1: log.level: unknown key at the top of the file; write level under log, on a line of its own\n" +
				"    3 | log.level: info\n" +
				"      | ^"},
		{"a misspelt key that is required is not called missing too",
			"lan: {interfase: eth1}\n" + wanSide,
			"gw.yaml:1:7: lan.interfase: unknown key; did you mean interface?\n" +
				"    1 | lan: {interfase: eth1}\n" +
				"      |       ^"},
		{"a name with control characters is shown quoted",
			sides + "\"a\\e[31m\": 1\n",
			"gw.yaml:3:1: \"a\\x1b[31m\": unknown key; at the top of the file there can be mode, workers, lan, wan, host, nat, forwards, bandwidth, sessions, store, api, metrics, log, limits, kernel\n" +
				"    3 | \"a\\e[31m\": 1\n" +
				"      | ^"},
		{"a very long name is cut",
			sides + "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: 1\n",
			"gw.yaml:3:1: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…: unknown key; at the top of the file there can be mode, workers, lan, wan, host, nat, forwards, bandwidth, sessions, store, api, metrics, log, limits, kernel\n" +
				"    3 | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: 1\n" +
				"      | ^"},
		{"a key that there is not: a total of both directions",
			sides + "bandwidth: {total: 10 Mbit}\n",
			"gw.yaml:3:20: bandwidth.total: this is a section, with keys under it: down, up\n" +
				"    3 | bandwidth: {total: 10 Mbit}\n" +
				"      |                    ^"},
		{"a key that there is not: a pause when the LAN goes",
			sides + "sessions: {lan_pause: 0}\n",
			"gw.yaml:3:12: sessions.lan_pause: unknown key; under sessions there can be resume_on_restart, ledger_keep, idle_pause, pause_on_carrier_loss, pause_on_silent_gateway\n" +
				"    3 | sessions: {lan_pause: 0}\n" +
				"      |            ^"},
		{"a mode that does not work yet",
			sides + "mode: switch\n",
			"gw.yaml:3:7: mode: \"switch\" is not known; it can be route, bridge\n" +
				"    3 | mode: switch\n" +
				"      |       ^"},
		{"a misspelt dhcp, whose gateway is not called missing",
			lanSide + "wan: {interface: eth0, address: dchp}\n",
			"gw.yaml:2:33: wan.address: \"dchp\" is not an address with a prefix length; write it such as 203.0.113.2/24, or dhcp\n" +
				"    2 | wan: {interface: eth0, address: dchp}\n" +
				"      |                                 ^"},
		{"what is missing comes after what has a place",
			"colour: red\n" + wanSide + "modes: route\n",
			"gw.yaml:1:1: colour: unknown key; at the top of the file there can be mode, workers, lan, wan, host, nat, forwards, bandwidth, sessions, store, api, metrics, log, limits, kernel\n" +
				"    1 | colour: red\n" +
				"      | ^\n" +
				"gw.yaml:3:1: modes: unknown key; did you mean mode?\n" +
				"    3 | modes: route\n" +
				"      | ^\n" +
				"gw.yaml: lan.interface: missing; name the Ethernet port towards the clients, such as eth1"},
		{"a last value over several lines stands at its key",
			sides + "mode: a\n  -\n",
			"gw.yaml:3:1: mode: \"a -\" is not known; it can be route, bridge\n" +
				"    3 | mode: a\n" +
				"      | ^"},
		{"a key written twice",
			sides + "mode: route\nmode: route\n",
			"gw.yaml:4:1: mode: written twice; line 3 has it already, so remove one\n" +
				"    4 | mode: route\n" +
				"      | ^"},
		{"a section written twice",
			sides + "log: {level: info}\nlog: {format: json}\n",
			"gw.yaml:4:1: log: written twice; line 3 has it already, so remove one\n" +
				"    4 | log: {format: json}\n" +
				"      | ^"},
		{"a value where a section stands",
			sides + "log: debug\n",
			"gw.yaml:3:6: log: this is a section, with keys under it: level, format\n" +
				"    3 | log: debug\n" +
				"      |      ^"},
		{"a list where a section stands",
			sides + "log: [debug]\n",
			"gw.yaml:3:6: log: this is a section, with keys under it: level, format\n" +
				"    3 | log: [debug]\n" +
				"      |      ^"},
		{"a section where a value stands",
			sides + "mode: {a: b}\n",
			"gw.yaml:3:7: mode: one value is wanted here, not a list or a section\n" +
				"    3 | mode: {a: b}\n" +
				"      |       ^"},
		{"a list where a value stands",
			sides + "mode: [route]\n",
			"gw.yaml:3:7: mode: one value is wanted here, not a list or a section\n" +
				"    3 | mode: [route]\n" +
				"      |       ^"},
		{"a key without a value",
			sides + "mode:\nlog: {level: ~}\n",
			"gw.yaml:3:1: mode: it has no value; write one or remove it\n" +
				"    3 | mode:\n" +
				"      | ^\n" +
				"gw.yaml:4:14: log.level: it has no value; write one or remove it\n" +
				"    4 | log: {level: ~}\n" +
				"      |              ^"},
		{"a value of absurd length",
			sides + "store: {path: /" + strings.Repeat("x", 1100) + "}\n",
			"gw.yaml:3:15: store.path: the value has 1101 bytes; no value needs more than 1024\n" +
				"    3 | store: {path: /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\n" +
				"      |               ^"},
		{"the caret counts characters, not bytes",
			sides + "host: {\"é\": 1, default_route: 2}\n",
			"gw.yaml:3:8: host.é: unknown key; under host there can be default_route, ports\n" +
				"    3 | host: {\"é\": 1, default_route: 2}\n" +
				"      |        ^\n" +
				"gw.yaml:3:31: host.default_route: \"2\" is neither true nor false; write true or false, without quotes\n" +
				"    3 | host: {\"é\": 1, default_route: 2}\n" +
				"      |                               ^"},
		{"the caret stands under a value after a tab",
			sides + "mode:\tswitch\n",
			"gw.yaml:3:7: mode: \"switch\" is not known; it can be route, bridge\n" +
				"    3 | mode:\tswitch\n" +
				"      |      \t^"},
		{"the caret stands under a value before blanks",
			sides + "log:\n  level: all   \n  format: 1\t# xml\n",
			"gw.yaml:4:10: log.level: \"all\" is not known; it can be debug, info, warn, error\n" +
				"    4 |   level: all   \n" +
				"      |          ^\n" +
				"gw.yaml:5:11: log.format: \"1\" is not known; it can be text, json\n" +
				"    5 |   format: 1\t# xml\n" +
				"      |           ^"},
	} {
		t.Run(row.name, row.run)
	}
}

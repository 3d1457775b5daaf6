package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// What a config needs, on one line a side.
const (
	lanSide = "lan: {interface: eth1}\n"
	wanSide = "wan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n"
	sides   = lanSide + wanSide
)

// refusal is a text and all that is said about it.
type refusal struct{ name, text, want string }

func (r refusal) run(t *testing.T) {
	_, err := Parse("gw.yaml", []byte(r.text))
	if err == nil {
		t.Fatalf("accepted:\n%s", r.text)
	}
	if got := err.Error(); got != r.want {
		t.Errorf("got\n%s\nwant\n%s", got, r.want)
	}
}

func TestTextThatIsNoConfigIsRefused(t *testing.T) {
	for _, row := range []refusal{
		{"an empty file says the least it needs",
			"",
			"gw.yaml: the file is empty; it needs at least lan.interface, wan.interface, wan.address and, unless that is dhcp, wan.gateway"},
		{"only comments is an empty file",
			"# nothing\n",
			"gw.yaml: the file is empty; it needs at least lan.interface, wan.interface, wan.address and, unless that is dhcp, wan.gateway"},
		{"only a document's start is an empty file",
			"---\n",
			"gw.yaml: the file is empty; it needs at least lan.interface, wan.interface, wan.address and, unless that is dhcp, wan.gateway"},
		{"one word is not a config",
			"gatewayd\n",
			"gw.yaml:1:1: a config is keys and values, such as mode: route, with a blank after the colon\n" +
				"    1 | gatewayd\n" +
				"      | ^"},
		{"a list is not a config",
			"- mode: route\n",
			"gw.yaml:1:1: a config is keys and values, such as mode: route, with a blank after the colon\n" +
				"    1 | - mode: route\n" +
				"      | ^"},
		{"a colon without a blank",
			"mode:route\nlog: {level: info}\n",
			"gw.yaml:1:1: this is not YAML: unexpected key name; a blank belongs after the colon, as in name: value\n" +
				"    1 | mode:route\n" +
				"      | ^"},
		{"a key indented too far",
			"mode: route\n log: {level: info}\n",
			"gw.yaml:1:7: this is not YAML: mapping value is not allowed in this context; each key has its own line, and the keys of a section start in the same column\n" +
				"    1 | mode: route\n" +
				"      |       ^"},
		{"an open brace",
			"lan: {interface: eth1\n",
			"gw.yaml:1:6: this is not YAML: could not find flow mapping end token '}'\n" +
				"    1 | lan: {interface: eth1\n" +
				"      |      ^"},
		{"an open quote",
			"mode: 'route\n",
			"gw.yaml:1:7: this is not YAML: could not find end character of single-quoted text\n" +
				"    1 | mode: 'route\n" +
				"      |       ^"},
		{"a reserved sign",
			"mode: @route\n",
			"gw.yaml:1:7: this is not YAML: '@' is a reserved character\n" +
				"    1 | mode: @route\n" +
				"      |       ^"},
		{"a tab in the indentation",
			"lan:\n\tinterface: eth1\n",
			"gw.yaml:2:1: a tab in the indentation; YAML wants blanks, such as two for each level\n" +
				"    2 | \tinterface: eth1\n" +
				"      | ^"},
		{"a byte that is not UTF-8",
			"mode: route # caf\xe9\n",
			"gw.yaml:1:18: the byte 0xe9 is not UTF-8; save the file as UTF-8\n" +
				"    1 | mode: route # caf�\n" +
				"      |                  ^"},
		{"the column of a wrong byte counts characters",
			"# \u00e9\u00e9\xe9\n",
			"gw.yaml:1:5: the byte 0xe9 is not UTF-8; save the file as UTF-8\n" +
				"    1 | # \u00e9\u00e9\ufffd\n" +
				"      |     ^"},
		{"more than any config has",
			strings.Repeat("- ", 10001),
			"gw.yaml:1:20001: more than 10000 words and signs; a config has a few hundred: is this the right file?\n" +
				"    1 | …" + strings.Repeat("- ", 26) + "\n" +
				"      | " + strings.Repeat(" ", 51) + "^"},
		{"UTF-16",
			"\xff\xfem\x00",
			"gw.yaml: the file is UTF-16; save it as UTF-8"},
		{"a control character",
			"mode: \x1b[31mroute\n",
			"gw.yaml:1:7: the control character U+001B; remove it\n" +
				"    1 | mode: ·[31mroute\n" +
				"      |       ^"},
		{"an anchor and its alias",
			"lan: &x {interface: eth1}\nwan: *x\n",
			"gw.yaml:1:6: anchors and aliases are not read here; write the value itself\n" +
				"    1 | lan: &x {interface: eth1}\n" +
				"      |      ^\n" +
				"gw.yaml:2:6: anchors and aliases are not read here; write the value itself\n" +
				"    2 | wan: *x\n" +
				"      |      ^"},
		{"a merge key",
			"<<: {mode: route}\n",
			"gw.yaml:1:1: anchors and aliases are not read here; write the value itself\n" +
				"    1 | <<: {mode: route}\n" +
				"      | ^"},
		{"a tag",
			"mode: !!str route\n",
			"gw.yaml:1:7: tags are not read here; write the value alone\n" +
				"    1 | mode: !!str route\n" +
				"      |       ^"},
		{"a directive",
			"%YAML 1.2\n---\nmode: route\n",
			"gw.yaml:1:1: directives are not read here; remove the line\n" +
				"    1 | %YAML 1.2\n" +
				"      | ^"},
		{"an explicit key",
			"? mode\n: route\n",
			"gw.yaml:1:1: a key is written without a question mark, as name: value\n" +
				"    1 | ? mode\n" +
				"      | ^"},
		{"block text",
			"mode: |\n  route\n",
			"gw.yaml:1:7: block text is not read here; write the value on the key's line\n" +
				"    1 | mode: |\n" +
				"      |       ^"},
		{"a second document",
			sides + "---\nmode: route\n",
			"gw.yaml:4:1: a second document; a config is one document, so remove the line --- or ... before it\n" +
				"    4 | mode: route\n" +
				"      | ^"},
		{"text after the document's end",
			sides + "...\nmode: route\n",
			"gw.yaml:4:1: a second document; a config is one document, so remove the line --- or ... before it\n" +
				"    4 | mode: route\n" +
				"      | ^"},
	} {
		t.Run(row.name, row.run)
	}
}

func TestTextThatEditorsLeaveIsRead(t *testing.T) {
	for _, row := range []struct{ name, text string }{
		{"a byte order mark", "\xef\xbb\xbf" + sides},
		{"CRLF line ends", strings.ReplaceAll(sides, "\n", "\r\n")},
		{"no line end at the end", strings.TrimSuffix(sides, "\n")},
		{"a document's start and end", "---\n" + sides + "...\n# done\n"},
		{"tabs before values and comments", strings.ReplaceAll(sides, ": ", ":\t ") + "log: {level: info}\t# a tab\t\n"},
		{"a section whose keys are all left out", sides + "log:\n  # level: debug\nstore: ~\n"},
		{"quoted keys and values", strings.ReplaceAll(strings.ReplaceAll(sides, "eth1", `"eth1"`), "lan:", "'lan':")},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Parse("gw.yaml", []byte(row.text))
			if err != nil {
				t.Fatal(err)
			}
			if want := usual(); !reflect.DeepEqual(*got, want) {
				t.Errorf("got %+v, want %+v", *got, want)
			}
		})
	}
}

func TestTextMeantToHurtIsRefusedInTime(t *testing.T) {
	for _, piece := range []string{"[", "{a: ", "- ", "? ", "&a ", "*a ", "!!x ", "a:\n", "'x' ", "|\n", "\"\\n"} {
		text := strings.Repeat(piece, 100_000/len(piece))
		_, err := Parse("gw.yaml", []byte(text))
		if err == nil {
			t.Fatalf("%q, many times, is accepted", piece)
		}
		if message := err.Error(); len(message) > 20_000 {
			t.Errorf("%q, many times, is answered with %d bytes", piece, len(message))
		}
	}
}

func TestAFileBeyondItsSizeIsRefused(t *testing.T) {
	largest := append([]byte(sides), bytes.Repeat([]byte("#"), maxFile-len(sides))...)
	if _, err := Parse("gw.yaml", largest); err != nil {
		t.Errorf("1 MiB is refused: %v", err)
	}
	refusal{text: string(largest) + "#",
		want: "gw.yaml: the file is larger than 1 MiB; a config has a few kilobytes: is this the right file?"}.run(t)
}

func TestOnlyTheFirstTwentyErrorsAreShown(t *testing.T) {
	_, err := Parse("gw.yaml", []byte(sides+strings.Repeat("colour: red\n", 23)))
	if got := err.Error(); strings.Count(got, "colour: unknown key") != 20 || !strings.HasSuffix(got, "\nand 3 more") {
		t.Errorf("got\n%s", got)
	}
}

func TestALongLineIsShownAroundItsCaret(t *testing.T) {
	text := sides + "host: {ports: [" + strings.Repeat("tcp/80, ", 40) + "sctp/1, " + strings.Repeat("udp/53, ", 40) + "]}\n"
	refusal{text: text, want: `gw.yaml:3:336: host.ports[40]: "sctp" is not a protocol with ports; use tcp or udp` + "\n" +
		"    3 | …, tcp/80, tcp/80, tcp/80, tcp/80, tcp/80, tcp/80, sctp/1, udp/53, udp/53, udp/53, udp/53, udp/53, ud…\n" +
		"      | " + strings.Repeat(" ", 51) + "^"}.run(t)
}

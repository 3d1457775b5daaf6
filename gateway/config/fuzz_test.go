package config

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// FuzzParse: no text panics; what is accepted passes Check and survives JSON;
// what is refused has a reason, and a place that is inside the text.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		string(Example), sides, "", "\xef\xbb\xbf" + sides, strings.ReplaceAll(sides, "\n", "\r\n"), "---\n" + sides + "...\n",
		"lan: &x {interface: eth1}\nwan: *x\n", "<<: {mode: route}\n", "? mode\n: route\n", "mode: |\n  route\n", "%YAML 1.2\n---\n",
		sides + "host: {ports: [tcp/80, udp/1-2, 5, ~]}\n", sides + "host:\n  ports:\n  - all\n  -\n", lanSide + "wan: {interface: eth0, address: dhcp}\nforwards: [tcp/80 to 10.10.0.5]\n", "a:\n\tb: 1\n", "mode:\t x \t# y\n",
		"mode: 'a\n\n b' \nlog: \"\\x41\"  \nlan: {a: [b, {c: d}], }\n", "- - - a\n", "{}", "[]", "a: b: c", "\"\\e\": 1", "é: ü\n", "host: 0\n -",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("gw.yaml", text)
		if err != nil {
			checkPlaces(t, text, err)
			return
		}
		if err := c.Check(); err != nil {
			t.Errorf("parsed, but Check says %v", err)
		}
		carried, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Config
		if err := json.Unmarshal(carried, &back); err != nil || !reflect.DeepEqual(back, *c) {
			t.Errorf("JSON brings back %+v, %v; want %+v", back, err, *c)
		}
		c.Warnings()
	})
}

// checkPlaces holds each error to the text: its line exists, and a key's or a
// value's column has a character that is not blank.
func checkPlaces(t *testing.T, text []byte, err error) {
	var errs Errors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("not Errors: %#v", err)
	}
	clean, _ := cleanText(text)
	lines := strings.Split(string(clean), "\n")
	for _, e := range errs {
		if e.Reason == "" || e.File != "gw.yaml" {
			t.Errorf("no reason, or no file: %+v", e)
		}
		if e.Line == 0 {
			continue
		}
		if e.Line < 1 || e.Line > len(lines) || e.Column < 1 {
			t.Fatalf("outside of the text: %+v", e)
		}
		line := []rune(lines[e.Line-1])
		if e.Key != "" && (e.Column > len(line) || unicode.IsSpace(line[e.Column-1])) {
			t.Errorf("nothing stands at %d:%d in %q: %s", e.Line, e.Column, lines[e.Line-1], e.Reason)
		}
		if !strings.HasSuffix(e.Error(), "^") {
			t.Errorf("no caret: %s", e.Error())
		}
	}
}

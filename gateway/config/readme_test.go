package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// named returns the keys that a text names between two words, as key or as
// section.*, in the order of keys.
func named(t *testing.T, file, from, to string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), from)
	part, _, ends := strings.Cut(rest, to)
	if !begins || !ends {
		t.Fatalf("%s has nothing between %q and %q", file, from, to)
	}
	words := strings.FieldsFunc(part, func(c rune) bool { return strings.ContainsRune(" \n`,;:()#", c) })
	for _, k := range keys {
		section, _, _ := strings.Cut(k.path, ".")
		if slices.Contains(words, k.path) || slices.Contains(words, section+".*") {
			found = append(found, k.path)
		}
	}
	return found
}

// What a reload takes over, and what waits for a restart, stands in the README and
// in the example as it is: each key is in one of the two.
func TestTheReadmeAndTheExampleSayWhatAReloadTakesOver(t *testing.T) {
	restart, _ := RestartKeys()
	for _, row := range []struct {
		name, file, from, to string
		want                 []string
	}{
		{"the README, of what is in force at once", "../../README.md", "Of the file it takes over", "These need a restart", LiveKeys()},
		{"the README, of what needs a restart", "../../README.md", "These need a restart", "A file that is not right", restart},
		{"the example, of what needs a restart", "example.yaml", "these need a restart", "\n\n", restart},
	} {
		if got := named(t, row.file, row.from, row.to); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v\nwant %v", row.name, got, row.want)
		}
	}
}

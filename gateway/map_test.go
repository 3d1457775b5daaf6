package gateway

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows is the map of the house: each room and the rooms it may import. It is
// drawn in DESIGN.md.
var arrows = map[string][]string{
	"cmd/gatewayd":       {"gateway", "gateway/api/client"},
	"gateway":            {"gateway/*", "forwarder", "forwarder/*", "limiter", "sessions", "store", "store/client"},
	"gateway/api":        {"sessions"},
	"gateway/api/client": {},
	"gateway/capture":    {"forwarder/clients", "forwarder/packet"},
	"gateway/config":     {},
	"gateway/demo":       {"gateway/api/client"},
	"gateway/dhcp":       {"forwarder/packet"},
	"gateway/metrics":    {"sessions", "forwarder/clients"},
	"gateway/ports":      {},
	"forwarder":          {"forwarder/*", "limiter"},
	"forwarder/arena":    {},
	"forwarder/clients":  {"limiter"},
	"forwarder/link":     {},
	"forwarder/nat":      {"forwarder/arena", "forwarder/packet"},
	"forwarder/packet":   {},
	"limiter":            {"forwarder/arena"},
	"sessions":           {"forwarder/clients", "limiter", "store/client"},
	"sessions/races":     {}, // and no room imports it: it is for tests
	"store":              {"store/client"},
	"store/client":       {},
	"bench":              {"gateway/api/client"},
	"bench/medians":      {},
}

// forExamples is what examples may import beside the standard library: what
// they show an embedder.
var forExamples = []string{"gateway", "gateway/config", "sessions"}

// onlyIn lists the packages that have one home.
var onlyIn = map[string]string{
	"github.com/anishathalye/porcupine":   "sessions/races",
	"github.com/dgraph-io/badger/v4":      "store",
	"github.com/mdlayher/packet":          "gateway/ports",
	"github.com/insomniacslk/dhcp":        "gateway/dhcp",
	"github.com/songgao/water":            "gateway/ports",
	"github.com/spf13/cobra":              "cmd/gatewayd",
	"github.com/danielgtaylor/huma/v2":    "gateway/api",
	"github.com/prometheus/client_golang": "gateway/metrics",
}

// imports reads the sources, not what the build tool says of them: its answers
// are cached. Tests may import what they like.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	root := ".."
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); base != ".." && strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		room := filepath.ToSlash(rel)
		if found[room] == nil {
			found[room] = []string{}
		}
		for _, i := range file.Imports {
			what, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			found[room] = append(found[room], what)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func allowed(rules []string, room string) bool {
	return slices.ContainsFunc(rules, func(rule string) bool {
		ok, _ := path.Match(rule, room)
		return ok
	})
}

func TestTheMapIsTrue(t *testing.T) {
	found := imports(t)
	for room, list := range found {
		if strings.HasPrefix(room, "examples/") {
			for _, what := range list {
				to, ours := strings.CutPrefix(what, "gatewayd/")
				if ours && !allowed(forExamples, to) || !ours && strings.Contains(what, ".") {
					t.Errorf("%s imports %s: an example gets by with %v and the standard library", room, what, forExamples)
				}
			}
			continue
		}
		rules, known := arrows[room]
		if !known {
			t.Errorf("room %s is not on the map", room)
			continue
		}
		for _, what := range list {
			to, ours := strings.CutPrefix(what, "gatewayd/")
			if ours && !allowed(rules, to) {
				t.Errorf("%s imports %s: not on the map", room, to)
			}
			for lib, home := range onlyIn {
				if (what == lib || strings.HasPrefix(what, lib+"/")) && room != home {
					t.Errorf("%s imports %s: its home is %s", room, what, home)
				}
			}
		}
	}
	for room := range arrows {
		if found[room] == nil {
			t.Errorf("room %s is on the map but has no code", room)
		}
	}
}

// The fixed top level, and nothing else with code in it.
func TestTopLevelIsFixed(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"gateway", "forwarder", "limiter", "sessions", "store", "cmd", "bench", "go.mod", "go.sum", "Makefile",
		"README.md", "DESIGN.md", "LICENSE", "examples", "deploy", "bin"}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) && !strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s at the top level: not one of %v", e.Name(), known)
		}
	}
}

// Badger is in the closure of the store process's code only.
func TestBadgerStaysInItsProcess(t *testing.T) {
	found := imports(t)
	var reach func(room string, seen map[string]bool)
	reach = func(room string, seen map[string]bool) {
		if seen[room] {
			return
		}
		seen[room] = true
		for _, what := range found[room] {
			if to, ours := strings.CutPrefix(what, "gatewayd/"); ours {
				reach(to, seen)
			}
		}
	}
	for room := range found {
		if room == "store" || room == "gateway" || room == "cmd/gatewayd" || strings.HasPrefix(room, "examples/") {
			continue // the one binary holds all; gateway runs the store as a child
		}
		seen := map[string]bool{}
		reach(room, seen)
		if seen["store"] {
			t.Errorf("%s reaches the store's own code, and Badger with it", room)
		}
	}
}

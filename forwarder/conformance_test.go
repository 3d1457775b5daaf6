package forwarder

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// testRooms are the rooms whose tests CONFORMANCE.md may name.
var testRooms = map[string]string{"forwarder": ".", "nat": "nat", "packet": "packet", "gateway": "../gateway", "dhcp": "../gateway/dhcp"}

// testsOf are the tests of a room, each with the texts that its body holds,
// which the names of its rows are among.
func testsOf(t *testing.T, room string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testRooms[room], "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %d files", room, err, len(files))
	}
	tests := map[string][]string{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			texts := []string{}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if text, err := strconv.Unquote(l.Value); err == nil {
						texts = append(texts, text)
					}
				}
				return true
			})
			tests[f.Name.Name] = texts
		}
	}
	return tests
}

// requirement is a row of CONFORMANCE.md.
type requirement struct {
	line      int
	rfc, asks string
	tests     []string
}

var (
	inBackticks = regexp.MustCompile("`([^`]+)`")
	anRFCs      = regexp.MustCompile(`^RFC [0-9]+ `) // a row that is named after what it proves
)

// requirements reads the tables of a page.
func requirements(t *testing.T, page string) (all []requirement) {
	t.Helper()
	for i, line := range strings.Split(page, "\n") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| RFC |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			t.Errorf("line %d has %d cells, not RFC, what it asks and tests", i+1, len(cells))
			continue
		}
		r := requirement{line: i + 1, rfc: strings.TrimSpace(cells[0]), asks: strings.TrimSpace(cells[1])}
		for _, m := range inBackticks.FindAllStringSubmatch(cells[2], -1) {
			r.tests = append(r.tests, m[1])
		}
		all = append(all, r)
	}
	return all
}

// TestThePageIsTrue: each row of CONFORMANCE.md has a test, each test that it
// names exists, and each row of a test that names an RFC is on the page.
func TestThePageIsTrue(t *testing.T) {
	const leastRows = 60 // a page that lost its tables is not read as a short one
	page, err := os.ReadFile("CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	rooms := map[string]map[string][]string{}
	for room := range testRooms {
		rooms[room] = testsOf(t, room)
	}
	rows, named := requirements(t, string(page)), map[string]bool{}
	if len(rows) < leastRows {
		t.Errorf("%d rows, want %d at least", len(rows), leastRows)
	}
	seen := map[string]int{}
	for _, r := range rows {
		if before := seen[r.rfc+r.asks]; before != 0 {
			t.Errorf("line %d is line %d again: %s: %s", r.line, before, r.rfc, r.asks)
		}
		seen[r.rfc+r.asks] = r.line
		if r.rfc == "" || r.asks == "" || len(r.tests) == 0 {
			t.Errorf("line %d (%s: %s) has an empty cell or no test", r.line, r.rfc, r.asks)
		}
		for _, name := range r.tests {
			named[name] = true
			room, test, _ := strings.Cut(name, ".")
			test, row, hasRow := strings.Cut(test, "/")
			texts, ok := rooms[room][test]
			if !ok || hasRow && !slices.Contains(texts, row) {
				t.Errorf("line %d: %s does not exist: name the test that takes its place", r.line, name)
			}
		}
	}
	for room, tests := range rooms {
		for test, texts := range tests {
			for _, text := range texts {
				if name := room + "." + test + "/" + text; room != "gateway" && room != "dhcp" && anRFCs.MatchString(text) && !named[name] {
					t.Errorf("%s is not on the page: add it to the row of what it proves", name)
				}
			}
		}
	}
}

package ports

import "testing"

func TestInterfaceNames(t *testing.T) {
	for _, row := range []struct {
		name  string
		input string
		good  bool
	}{
		{"one letter is a name", "e", true},
		{"fifteen characters are a name", "abcdefghijklmno", true},
		{"a dot inside is allowed", "eth0.100", true},
		{"sixteen characters would be cut short", "abcdefghijklmnop", false},
		{"nothing is no name", "", false},
		{"a slash would leave the sysctl's directory", "../all", false},
		{"two dots would too", "..", false},
		{"a space would split the mending command", "eth0 x", false},
		{"a colon makes an alias", "eth0:1", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := checkName(row.input); (err == nil) != row.good {
				t.Errorf("checkName(%q) = %v", row.input, err)
			}
		})
	}
}

func TestConflictErrorNamesEveryConflictAndItsCommand(t *testing.T) {
	e := &ConflictError{Port: "eth1", Conflicts: []Conflict{{"a", "b"}, {"c", "d"}}}
	const want = "eth1 does not belong to gatewayd alone: a (run: b); c (run: d)"
	if got := e.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

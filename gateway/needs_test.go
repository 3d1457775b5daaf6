package gateway

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatIsNeededIsNamed(t *testing.T) {
	const all = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	for _, row := range []struct {
		name  string
		id    identity
		has   uint64
		names []string // none: nothing is missing
	}{
		{"root", identity{as: true}, 1<<41 - 1, nil},
		{"just enough", identity{as: true}, all, nil},
		{"a user of its own", identity{}, 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SETPCAP, nil},
		{"nobody", identity{}, 0, []string{"CAP_NET_ADMIN, CAP_NET_RAW, CAP_SETPCAP: run it as root"}},
		{"a container", identity{as: true}, all &^ (1 << unix.CAP_NET_ADMIN), []string{"without CAP_NET_ADMIN: "}},
		{"a bounded unit", identity{as: true}, all &^ (1<<unix.CAP_SETPCAP | 1<<unix.CAP_SETUID), []string{"without CAP_SETPCAP, CAP_SETUID: "}},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := lacking(needs(row.id), row.has)
			if (err == nil) != (row.names == nil) {
				t.Fatal(err)
			}
			for _, name := range row.names {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%v does not say %s", err, name)
				}
			}
		})
	}
}

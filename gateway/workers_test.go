package gateway

import (
	"testing"

	"gatewayd/gateway/config"
)

func TestWorkersOf(t *testing.T) {
	port, tap := config.LAN{Interface: "eth1"}, config.LAN{TAP: "gwlan0"}
	for _, row := range []struct {
		name                 string
		lan                  config.LAN
		workers, cores, want int
	}{
		{"auto", port, 0, 4, 4},
		{"auto on many cores", port, 0, 64, 16},
		{"auto where nobody knows", port, 0, 0, 1},
		{"one", port, 1, 4, 1},
		{"more than cores", port, 8, 2, 8},
		{"auto with a TAP", tap, 0, 4, 1},
		{"one with a TAP", tap, 1, 4, 1},
	} {
		if got := workersOf(&config.Config{LAN: row.lan, Workers: row.workers}, row.cores); got != row.want {
			t.Errorf("%s on %d cores: %d workers, want %d", row.name, row.cores, got, row.want)
		}
	}
}

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/gateway"
)

// status is what the screen shows of GET /status.
type status struct {
	Ready    bool     `json:"ready"`
	Degraded []string `json:"degraded"`
	Ports    struct {
		LAN, WAN, Host port
	} `json:"ports"`
	Sessions map[string]int `json:"sessions"`
	Clients  struct {
		Bound, Connected int
	} `json:"clients"`
	NAT struct {
		Mappings, Flows int
		Addresses       []natAddress
	} `json:"nat"`
	Lease       *lease            `json:"lease"`
	Drops       map[string]uint64 `json:"drops"`
	BilledBytes uint64            `json:"billed_bytes"`
	ExemptBytes uint64            `json:"exempt_bytes"`
	Version     string            `json:"version"`
	UptimeSecs  uint64            `json:"uptime_secs"`
	Processes   []struct {
		Name          string
		PID, Restarts int
	} `json:"processes"`
	Config configState `json:"config"`
}

type configState struct {
	File         string    `json:"file"`
	ReadAt       time.Time `json:"read_at"`
	NeedsRestart []string  `json:"needs_restart"`
	Refused      string    `json:"refused"`
}

// lease is what a DHCP server has given the WAN.
type lease struct {
	State, Address, Router, Server string
	Ends                           *time.Time
}

// String says which address, and for how long.
func (l *lease) String() string {
	if l.Address == "" {
		return l.State + ": no address"
	}
	said := fmt.Sprintf("%s: %s by %s, router %s", l.State, l.Address, l.Server, orDash(l.Router))
	if l.Ends != nil {
		said += ", until " + l.Ends.Local().Format(time.DateTime)
	}
	return said
}

type port struct {
	Name     string `json:"name"`
	MAC      string `json:"mac"`
	Up       bool   `json:"up"`
	MTU      int    `json:"mtu"`
	RxBytes  uint64 `json:"rx_bytes"`
	TxBytes  uint64 `json:"tx_bytes"`
	Refused  uint64 `json:"refused"`
	Overflow uint64 `json:"overflow"`
}

func newStatus(opt *options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the gateway's state on one screen, the verdict first",
		Long: "Show the gateway's state on one screen, the verdict first. It exits 0 whenever the daemon answers\n" +
			"(read ready and degraded), 3 if it does not.",
		Args: takes(), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return answer(cmd, opt, "GET", "/status", nil, showStatus)
		},
	}
}

func showStatus(w io.Writer, s status) {
	fmt.Fprintf(w, "%s  (gatewayd %s, up %s)\n", gateway.Verdict(s.Ready, s.Degraded), s.Version, humanTime(s.UptimeSecs))
	for _, reason := range s.Degraded {
		fmt.Fprintf(w, "  ! %s\n", reason)
	}
	fmt.Fprintln(w)

	t := table(w)
	fmt.Fprintln(t, "PORT\tNAME\tLINK\tMAC\tMTU\tRX\tTX\tREFUSED\tOVERFLOW")
	for _, p := range []struct {
		word string
		port
	}{{"lan", s.Ports.LAN}, {"wan", s.Ports.WAN}, {"host", s.Ports.Host}} {
		link := "down"
		if p.Up {
			link = "up"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%d\n", p.word, orDash(p.Name), link, orDash(p.MAC), p.MTU,
			humanBytes(p.RxBytes), humanBytes(p.TxBytes), p.Refused, p.Overflow)
	}
	t.Flush()
	fmt.Fprintln(w)

	t = table(w)
	fmt.Fprintf(t, "clients\t%d bound, %d connected\n", s.Clients.Bound, s.Clients.Connected)
	fmt.Fprintf(t, "sessions\t%s\n", counted(s.Sessions))
	fmt.Fprintf(t, "NAT\t%d mappings, %d flows%s\n", s.NAT.Mappings, s.NAT.Flows, spread(s.NAT.Addresses))
	if s.Lease != nil {
		fmt.Fprintf(t, "DHCP\t%s\n", s.Lease)
	}
	fmt.Fprintf(t, "billed\t%s, and %s exempt\n", humanBytes(s.BilledBytes), humanBytes(s.ExemptBytes))
	fmt.Fprintf(t, "dropped\t%s\n", counted(s.Drops))
	var processes []string
	for _, p := range s.Processes {
		text := fmt.Sprintf("%s %d", p.Name, p.PID)
		if p.PID == 0 {
			text = p.Name + " away"
		}
		if p.Restarts > 0 {
			text += fmt.Sprintf(" (restarted %d times)", p.Restarts)
		}
		processes = append(processes, text)
	}
	fmt.Fprintf(t, "processes\t%s\n", orDash(strings.Join(processes, ", ")))
	fmt.Fprintf(t, "config\t%s\n", s.Config)
	t.Flush()
}

// String says which config runs, and what of the file is not in force.
func (c configState) String() string {
	said := "the program's own"
	if c.File != "" {
		said = fmt.Sprintf("%s, read %s", c.File, c.ReadAt.Local().Format(time.DateTime))
	}
	if len(c.NeedsRestart) > 0 {
		said += "; after a restart: " + strings.Join(c.NeedsRestart, ", ")
	}
	if why, _, _ := strings.Cut(c.Refused, "\n"); why != "" {
		said += "; refused since: " + why
	}
	return said
}

// counted writes what is not zero, the largest first: 9 running, 3 available.
func counted[N int | uint64](counts map[string]N) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	var parts []string
	for _, name := range names {
		if counts[name] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// table aligns columns separated by tabs.
func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// natAddress is one of the gateway's own on the WAN.
type natAddress struct {
	Address  string
	Mappings int
}

// spread is how many mappings are at each WAN address, where there are several.
func spread(at []natAddress) string {
	if len(at) < 2 {
		return ""
	}
	texts := make([]string, len(at))
	for i, a := range at {
		texts[i] = fmt.Sprintf("%s: %d", a.Address, a.Mappings)
	}
	return "; mappings at " + strings.Join(texts, ", ")
}

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// why is what the screen shows of GET /devices/{D}/why.
type why struct {
	Now     time.Time `json:"now"`
	Verdict string    `json:"verdict"`
	Do      string    `json:"do"`
	Steps   []struct {
		Step  string `json:"step"`
		State string `json:"state"`
		Seen  string `json:"seen"`
		Do    string `json:"do"`
		Drops []struct {
			Reason  string    `json:"reason"`
			Words   string    `json:"words"`
			Packets uint64    `json:"packets"`
			Last    time.Time `json:"last"`
		} `json:"drops"`
	} `json:"steps"`
}

func newWhy(opt *options) *cobra.Command {
	return &cobra.Command{
		Use: "why D", Short: "Say why a device is or is not online, and what holds its speed",
		Long: "Say why a device is or is not online, and what holds its speed: the verdict and what to do first, then the\n" +
			"steps of a packet's way in order, with what was seen at each and what was dropped there. It exits 0\n" +
			"whatever the verdict; a MAC or an address that was never seen is answered, too.",
		Args: takes("D"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return answer(cmd, opt, "GET", devicePath(args[0])+"/why", nil, showWhy)
		},
	}
}

// stateMarks are what a step's state looks like.
var stateMarks = map[string]string{"ok": "ok", "holds": "HOLDS", "stops": "STOPS", "unasked": "-"}

func showWhy(w io.Writer, v why) {
	fmt.Fprintln(w, v.Verdict)
	if v.Do != "" {
		fmt.Fprintf(w, "  do: %s\n", v.Do)
	}
	fmt.Fprintln(w)
	t := table(w)
	defer t.Flush()
	for _, s := range v.Steps {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Step, stateMarks[s.State], orDash(s.Seen))
		if s.Do != "" && s.Do != v.Do {
			fmt.Fprintf(t, "\t\tdo: %s\n", s.Do)
		}
		for _, d := range s.Drops {
			fmt.Fprintf(t, "\t\t%d dropped as %s: %s; the last %s\n", d.Packets, d.Reason, d.Words, ago(d.Last, v.Now))
		}
	}
}

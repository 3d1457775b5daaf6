package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// summary is what is shown of GET /devices/{D}/summary.
type summary struct {
	DeviceID   int64          `json:"device_id"`
	Sessions   map[string]int `json:"sessions"`
	Time       remaining      `json:"time"`
	Data       remaining      `json:"data"`
	Either     remaining      `json:"time_or_data"`
	NextExpiry *time.Time     `json:"next_expiry"`
	Left       []session      `json:"left"`
	More       bool           `json:"more"`
}

type remaining struct {
	Sessions int     `json:"sessions"`
	TimeSecs uint64  `json:"time_secs"`
	DataMB   float64 `json:"data_mb"`
}

func newDevicesSummary(opt *options) *cobra.Command {
	return &cobra.Command{
		Use: "summary D", Short: "Say all that a device has left, and in which order it will be used",
		Args: takes("D"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return answer(cmd, opt, "GET", devicePath(args[0])+"/summary", nil, showSummary)
		},
	}
}

func showSummary(w io.Writer, s summary) {
	t := table(w)
	fmt.Fprintf(t, "device\t%d\n", s.DeviceID)
	if s.Time.Sessions > 0 {
		fmt.Fprintf(t, "time\t%s in %s\n", humanTime(s.Time.TimeSecs), sessionsOf(s.Time.Sessions))
	}
	if s.Data.Sessions > 0 {
		fmt.Fprintf(t, "data\t%s in %s\n", humanData(s.Data.DataMB), sessionsOf(s.Data.Sessions))
	}
	if s.Either.Sessions > 0 {
		fmt.Fprintf(t, "time or data\tat most %s and %s in %s: each ends with the half that runs out first\n",
			humanTime(s.Either.TimeSecs), humanData(s.Either.DataMB), sessionsOf(s.Either.Sessions))
	}
	if s.NextExpiry != nil {
		fmt.Fprintf(t, "next expiry\t%s\n", s.NextExpiry.Local().Format("2006-01-02 15:04"))
	}
	for _, state := range states {
		if n := s.Sessions[state]; n > 0 {
			fmt.Fprintf(t, "%s\t%d\n", state, n)
		}
	}
	t.Flush()
	if len(s.Left) == 0 {
		fmt.Fprintf(w, "\nnothing is left; sell it more: gatewayd sessions create --device %d --help\n", s.DeviceID)
		return
	}
	fmt.Fprintln(w)
	showSessions(w, s.Left)
	if s.More {
		fmt.Fprintf(w, "and more, which are in the sums: gatewayd sessions list --device %d --state available\n", s.DeviceID)
	}
}

func sessionsOf(n int) string {
	if n == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", n)
}

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/gateway"
)

// reloaded is what the screen shows of POST /reload.
type reloaded struct {
	File         string   `json:"file"`
	Applied      []string `json:"applied"`
	NeedsRestart []string `json:"needs_restart"`
	Warnings     []string `json:"warnings"`
}

func newReload(opt *options) *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Have the daemon read its config again, while packets pass",
		Long: "Have the daemon read the config that it was started with again. A file that is not right is refused as by\n" +
			"gatewayd check, and what runs stays in force. Of another one, these keys are in force when the command\n" +
			"returns, with no packet, conversation or session lost:\n\n" + indented(gateway.LiveKeys()) + "\n" +
			"The other keys that differ are named; they take effect when the service is restarted.",
		Args: takes(), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return answer(cmd, opt, "POST", "/reload", nil, showReloaded)
		},
	}
}

func showReloaded(w io.Writer, r reloaded) {
	for _, why := range r.Warnings {
		fmt.Fprintln(w, "warning:", why)
	}
	switch {
	case len(r.Applied) > 0:
		fmt.Fprintf(w, "in force now: %s\n", strings.Join(r.Applied, ", "))
	case len(r.NeedsRestart) == 0:
		fmt.Fprintf(w, "nothing has changed: what %s says is in force\n", r.File)
	}
	if len(r.NeedsRestart) > 0 {
		fmt.Fprintf(w, "after a restart: %s; run: systemctl restart gatewayd\n", strings.Join(r.NeedsRestart, ", "))
	}
}

// indented is a list of keys in lines that a terminal shows whole.
func indented(keys []string) string {
	var text strings.Builder
	line := " "
	for _, key := range keys {
		if len(line)+1+len(key) > 100 {
			text.WriteString(line + "\n")
			line = " "
		}
		line += " " + key
	}
	return text.String() + line + "\n"
}

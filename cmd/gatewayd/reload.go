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
			"The others that differ are named, then and by gatewayd status, and take effect when the service is\n" +
			"restarted:\n\n" + needsRestart() + "\n" +
			"So does one of the first that fits only beside one of the second. Open connections to a port of the box that\n" +
			"host.ports closes stop. A stricter nat.filtering keeps whom a client has sent to, and shuts out with their next\n" +
			"packet all others that it would not let in; flows above a lower limit stay until they end.",
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

// needsRestart is the keys that need a restart, by the reason.
func needsRestart() string {
	var text strings.Builder
	keep, why := gateway.RestartKeys()
	for len(keep) > 0 {
		reason := why[keep[0]]
		var alike, others []string
		for _, key := range keep {
			if why[key] == reason {
				alike = append(alike, key)
			} else {
				others = append(others, key)
			}
		}
		text.WriteString(indented(alike) + "      " + reason + "\n")
		keep = others
	}
	return text.String()
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

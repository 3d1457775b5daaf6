package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/gateway"
	"gatewayd/gateway/api/client"
)

var eventNames = []string{"session:connected", "session:disconnected", "session:throttled", "session:consumed", "session:expired", "session:changed",
	"session:skipped",
	"client:created", "client:changed", "provider:failed", "provider:answered"}

func newEvents(opt *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "events [--device D] [--event NAME]... [--after ID]", Short: "Follow what happens, a JSON line each",
		Long: "Follow what happens until Ctrl-C, a JSON line each, with and without --json. Without --after it begins\n" +
			"with what happens next; with the id of an event it begins with the one after it, and with 0 with the\n" +
			"oldest that is kept. A line with the event lost says how many are not kept any more or were passed over\n" +
			"because the lines were read too slowly.\n\n" +
			"Names: " + strings.Join(eventNames, ", ") + ",\n" +
			"and those of a program that embeds the gateway. When the daemon goes away it ends with code 3 and says how to go on.",
		Example: "  gatewayd events --device 10.10.0.2\n  gatewayd events --event session:consumed --event session:expired --after 0",
		Args:    takes(), DisableFlagsInUseLine: true,
	}
	device := cmd.Flags().String("device", "", "only those of the device `D`")
	names := cmd.Flags().StringArray("event", nil, "only those of this `NAME`; may be there several times")
	after := cmd.Flags().Uint64("after", 0, "begin after the event with this `ID`")
	cmd.RegisterFlagCompletionFunc("event", cobra.FixedCompletions(eventNames, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := url.Values{"event": *names}
		if *device != "" {
			query.Set("device", *device)
		}
		if cmd.Flags().Changed("after") {
			query.Set("after", fmt.Sprint(*after))
		}
		for _, name := range *names {
			if !slices.Contains(eventNames, name) {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is none of gatewayd's own events: it comes only if a program that embeds the gateway emits it\n", name)
			}
		}
		last, err := daemonAt(opt).Events(cmd.Context(), "/events?"+query.Encode(), func(e client.StreamEvent) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", e.Data)
			return err
		})
		var away *client.Unreachable
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case errors.As(err, &away) && last != "":
			return &failure{exitUnreachable, fmt.Errorf("%w; go on with %s", err, goOn(cmd, opt, *device, *names, last))}
		}
		return failed(err)
	}
	return cmd
}

// goOn is the command line that follows the same events after an id.
func goOn(cmd *cobra.Command, opt *options, device string, names []string, last string) string {
	line := []string{cmd.CommandPath()}
	if opt.socket != gateway.DefaultSocket {
		line = append(line, "--socket", opt.socket)
	}
	if device != "" {
		line = append(line, "--device", device)
	}
	for _, name := range names {
		line = append(line, "--event", name)
	}
	return strings.Join(append(line, "--after", last), " ")
}

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatewayd/gateway"
)

// options are the flags that every command has.
type options struct {
	socket string // path of the daemon's API socket
	json   bool   // print JSON: of a call the HTTP answer unchanged
}

func newRoot() *cobra.Command {
	opt := &options{}
	root := &cobra.Command{
		Use:   "gatewayd COMMAND",
		Short: "A hotspot gateway that forwards every packet itself and holds each client to its prepaid plan",
		Long: "gatewayd takes a LAN port and a WAN port, forwards every packet between them, and stops each client\n" +
			"at the byte or second where its prepaid session ends.\n\n" +
			"A device D is named by its id, MAC or IP. Exit codes: 0 done, 1 refused (with why and what to do),\n" +
			"2 misuse, 3 the daemon cannot be reached.",
		Example:       "  gatewayd demo\n  gatewayd run --config " + gateway.DefaultConfigPath + "\n  gatewayd status",
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
		SuggestionsMinimumDistance: 2,
	}
	root.PersistentFlags().StringVar(&opt.socket, "socket", gateway.DefaultSocket, "the daemon's API socket")
	root.PersistentFlags().BoolVar(&opt.json, "json", false, "print JSON: the HTTP answer unchanged; events prints JSON lines anyway, capture writes pcapng, run and demo none")
	root.SetFlagErrorFunc(suggestFlag)
	root.AddCommand(
		newRun(), newCheck(opt), newDemo(), newVersion(opt),
		newStatus(opt), newTop(opt), newWhy(opt), newDevices(opt), newSessions(opt),
		newConnect(opt), newDisconnect(opt), newPause(opt), newResume(opt), newEvents(opt), newCapture(opt),
		newReload(opt), newBackup(opt), newRestore(opt),
		newChild("forward"), newChild("control"), newChild("store"),
	)
	return root
}

// group makes a command that only holds others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name + " COMMAND", Short: short, DisableFlagsInUseLine: true, SuggestionsMinimumDistance: 2}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		if len(args) == 0 {
			return fmt.Errorf("say what to do: %s", strings.Join(names, ", "))
		}
		return fmt.Errorf("unknown command %q; there are %s%s", args[0], strings.Join(names, ", "), didYouMean(cmd.SuggestionsFor(args[0]), ""))
	}
	cmd.AddCommand(commands...)
	return cmd
}

// takes accepts exactly the arguments of these names.
func takes(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		}
		if len(args) < len(names) {
			return fmt.Errorf("%s is missing", names[len(args)])
		}
		return nil
	}
}

// suggestFlag adds to an unknown flag the nearest that exists.
func suggestFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	names := &cobra.Command{SuggestionsMinimumDistance: 2} // cobra knows how to find the nearest command
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	return fmt.Errorf("%w%s", err, didYouMean(names.SuggestionsFor(unknown.GetSpecifiedName()), "--"))
}

func didYouMean(nearest []string, prefix string) string {
	if len(nearest) == 0 {
		return ""
	}
	return "; did you mean " + prefix + strings.Join(nearest, " or "+prefix) + "?"
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gatewayd/gateway"
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run [--config FILE]", Short: "Run the service until it is told to stop",
		Long: "Run the service in the foreground until SIGINT or SIGTERM. When both ports and the API socket are\n" +
			"ready it prints one line and tells systemd. SIGHUP has it read FILE again, as gatewayd reload does. It\n" +
			"needs root.",
		Args: takes(), DisableFlagsInUseLine: true,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("socket") {
			return fmt.Errorf("run makes the socket that its config names: set api.socket in %s instead of --socket", *path)
		}
		reload := make(chan os.Signal, 1) // one that waits is enough
		signal.Notify(reload, syscall.SIGHUP)
		defer signal.Stop(reload)
		return refused(gateway.RunConfig(cmd.Context(), *path, reload))
	}
	return cmd
}

func newCheck(opt *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check [--config FILE]", Short: "Say whether the config would be taken; change nothing",
		Args: takes(), DisableFlagsInUseLine: true,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		warnings, err := gateway.CheckConfig(*path)
		if opt.json {
			verdict := struct {
				OK       bool     `json:"ok"`
				Warnings []string `json:"warnings"`
				Error    string   `json:"error"`
			}{err == nil, append([]string{}, warnings...), ""}
			if err != nil {
				verdict.Error = err.Error()
			}
			json.NewEncoder(cmd.OutOrStdout()).Encode(verdict)
			return refused(err)
		}
		for _, w := range warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
		}
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good; start it with gatewayd run --config %s\n", *path, *path)
		}
		return refused(err)
	}
	return cmd
}

func newDemo() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Show in network namespaces what gatewayd does, with real traffic; needs root and nothing else",
		Args: takes(), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return refused(gateway.Demo(cmd.Context(), cmd.OutOrStdout()))
		},
	}
}

func newVersion(opt *options) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this program",
		Args: takes(), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opt.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"version": gateway.Version()})
			}
			fmt.Fprintln(cmd.OutOrStdout(), "gatewayd", gateway.Version())
			return nil
		},
	}
}

// newChild makes the word of a child process, which gateway.Child answers when
// the keeper says it.
func newChild(word string) *cobra.Command {
	return &cobra.Command{
		Use: word, Hidden: true, DisableFlagParsing: true, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("gatewayd run starts this process itself and hands it its sockets and memory; " +
				"it cannot be run by hand: gatewayd run")
		},
	}
}

func configFlag(cmd *cobra.Command) *string {
	path := cmd.Flags().String("config", gateway.DefaultConfigPath, "the config `FILE`")
	cmd.MarkFlagFilename("config", "yaml", "yml")
	return path
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatewayd/gateway"
	"gatewayd/gateway/api/client"
)

const (
	topMost    = 1000                   // clients that the daemon tells of at once
	topPlain   = 20                     // clients of a table that is no screen
	topFastest = 500 * time.Millisecond // between two looks
)

// topOrders are what clients can be sorted by: the API's word, and the key on a screen.
var topOrders = []struct {
	key        byte
	word, what string
}{
	{'d', "down", "down"}, {'u', "up", "up"}, {'q', "delay", "queue delay"}, {'x', "drops", "drops"}, {'r', "remaining", "remaining"}, {'n', "name", "name"},
}

// orderFlag is one of topOrders, by its word or its key.
type orderFlag string

func (f *orderFlag) Type() string   { return "KEY" }
func (f *orderFlag) String() string { return string(*f) }

func (f *orderFlag) Set(text string) error {
	var words []string
	for _, o := range topOrders {
		if text == o.word || text == string(o.key) {
			*f = orderFlag(o.word)
			return nil
		}
		words = append(words, o.word)
	}
	return fmt.Errorf("write one of %s, or its letter", strings.Join(words, ", "))
}

// intervalFlag is a time between two looks.
type intervalFlag time.Duration

func (f *intervalFlag) Type() string   { return "TIME" }
func (f *intervalFlag) String() string { return time.Duration(*f).String() }

func (f *intervalFlag) Set(text string) error {
	d, err := gateway.ParseDuration(text)
	if err != nil {
		return err
	}
	if d < topFastest || d > 24*time.Hour {
		return fmt.Errorf("%q is not a time between two looks: write one from %v to 24h, such as 2s", text, topFastest)
	}
	*f = intervalFlag(d)
	return nil
}

// watch is how gatewayd top was asked to look.
type watch struct {
	order    orderFlag
	interval intervalFlag
	count    int // looks; 0: without end
	lines    int // clients at most; 0: as many as fit
}

func newTop(opt *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "top [--sort KEY] [--interval TIME] [--count N] [--lines N]", Short: "Show who sends and receives what now, on one screen",
		Long: "Show who sends and receives what now. On a terminal one screen is kept up to date until Q is pressed;\n" +
			"the keys d, u, q, x, r and n sort it by what comes down, what goes up, queue delay, drops, remaining\n" +
			"and name. Elsewhere it prints a table, with --count several, each after --interval.\n\n" +
			"  DOWN, UP    bits a second, layer 3, as billed\n" +
			"  USED%       how much of its plan's speed that is, down/up; - without a limit\n" +
			"  DELAY       ms that what left last had waited for that speed, down/up\n" +
			"  DROP/S      packets a second dropped for it; DROPS, since the client has its place in the table\n" +
			"  MARKS       packets marked with congestion experienced, since then\n" +
			"  TIME-LEFT, DATA-LEFT, STATE, SESSION, TYPE   of its session\n" +
			"  PLAN        speeds that hold now, down/up\n\n" +
			"Clients that are connected are shown, paused ones too. A narrow screen leaves the lesser columns out.",
		Example: "  gatewayd top\n  gatewayd top --sort delay --count 1 --lines 5\n  gatewayd top --json --count 0 --interval 10s",
		Args:    takes(), DisableFlagsInUseLine: true,
	}
	w := watch{order: "down", interval: intervalFlag(time.Second)}
	cmd.Flags().Var(&w.order, "sort", "who comes first: down, up, delay, drops, remaining (whose session can end first) or name")
	cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions([]string{"down", "up", "delay", "drops", "remaining", "name"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().Var(&w.interval, "interval", "time between two looks")
	cmd.Flags().IntVar(&w.count, "count", 0, "end after `N` looks; 0: never. Without it: never on a terminal, else after one, and so with --json")
	cmd.Flags().IntVar(&w.lines, "lines", 0, "at most `N` clients, up to 1000. Without it: as many as fit on a terminal, else 20")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if w.count < 0 {
			return fmt.Errorf("--count %d: want 0 or more", w.count)
		}
		if cmd.Flags().Changed("lines") && (w.lines < 1 || w.lines > topMost) {
			return fmt.Errorf("--lines %d: want 1 to %d", w.lines, topMost)
		}
		out, terminal := cmd.OutOrStdout().(*os.File)
		if terminal = terminal && term.IsTerminal(int(out.Fd())); terminal && !opt.json {
			return topScreen(cmd, daemonAt(opt), w, out)
		}
		if !cmd.Flags().Changed("count") {
			w.count = 1
		}
		return topPrint(cmd, opt, w)
	}
	return cmd
}

// path is the call for at most so many clients.
func (w watch) path(lines int) string {
	return "/top?" + url.Values{"sort": {string(w.order)}, "limit": {strconv.Itoa(min(max(lines, 1), topMost))}}.Encode()
}

// topPrint prints a table a look, or with --json the answers, several as a line each.
func topPrint(cmd *cobra.Command, opt *options, w watch) error {
	daemon, out := daemonAt(opt), cmd.OutOrStdout()
	if w.lines == 0 {
		w.lines = topPlain
	}
	for n := 1; ; n++ {
		due := time.After(time.Duration(w.interval))
		text, err := daemon.Call(cmd.Context(), "GET", w.path(w.lines), nil)
		if errors.Is(cmd.Context().Err(), context.Canceled) {
			return nil
		}
		if opt.json && w.count != 1 {
			text = append(bytes.TrimSpace(text), '\n')
		}
		switch {
		case opt.json && len(text) > 0:
			if _, err := out.Write(text); err != nil {
				return refused(err)
			}
		case err == nil:
			err = printTop(out, daemon, text, n > 1)
		}
		if err != nil {
			return failed(err)
		}
		if n == w.count {
			return nil
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-due:
		}
	}
}

// printTop prints an answer as a table, after an empty line if others stand before it.
func printTop(out io.Writer, daemon *client.Client, text []byte, more bool) error {
	var t top
	if err := daemon.Decode(text, &t); err != nil {
		return err
	}
	var page strings.Builder
	if more {
		page.WriteByte('\n')
	}
	for _, line := range t.lines(0) {
		page.WriteString(strings.TrimRight(line, " "))
		page.WriteByte('\n')
	}
	_, err := io.WriteString(out, page.String())
	return err
}

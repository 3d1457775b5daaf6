package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// session is what is shown of the API's session.
type session struct {
	ID             int64      `json:"id"`
	DeviceID       int64      `json:"device_id"`
	Provider       string     `json:"provider"`
	Type           string     `json:"type"`
	State          string     `json:"state"`
	PauseReason    string     `json:"pause_reason"`
	TimeSecs       uint64     `json:"time_secs"`
	DataMB         float64    `json:"data_mb"`
	TimeCons       uint64     `json:"time_cons"`
	RemainingTime  uint64     `json:"remaining_time"`
	RemainingData  float64    `json:"remaining_data"`
	UpBytes        uint64     `json:"up_bytes"`
	DownBytes      uint64     `json:"down_bytes"`
	StartedAt      *time.Time `json:"started_at"`
	ExpiresAt      *time.Time `json:"expires_at"`
	ExpDays        *uint      `json:"exp_days"`
	DownMbits      int        `json:"down_mbits"`
	UpMbits        int        `json:"up_mbits"`
	UseGlobalSpeed bool       `json:"use_global_speed"`
	Weight         int        `json:"weight"`
	ThrottleDown   uint64     `json:"throttle_down_bits"`
	ThrottleUp     uint64     `json:"throttle_up_bits"`
	Throttled      bool       `json:"throttled"`
	CreatedAt      time.Time  `json:"created_at"`
}

var (
	types  = []string{"time", "data", "time_or_data"}
	states = []string{"available", "running", "paused", "consumed", "expired"}
)

func newSessions(opt *options) *cobra.Command {
	return group("sessions", "List, create, show, change and delete sessions",
		newSessionsList(opt), newSessionsCreate(opt), newSessionsShow(opt), newSessionsSet(opt), newSessionsDelete(opt))
}

func newSessionsList(opt *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [--device D] [--state STATE] [--type TYPE] [--provider NAME] [--created-after TIME] [--created-before TIME]\n" +
			"                        [--expires-after TIME] [--expires-before TIME] [--limit N] [--cursor CURSOR]",
		Short:   "List sessions",
		Long:    "List the sessions that have all that is asked for. TIME is " + momentForms + ".",
		Example: "  gatewayd sessions list --device 10.10.0.2 --state available\n  gatewayd sessions list --created-after 2026-11-01 --created-before 2026-12-01",
		Args:    takes(), DisableFlagsInUseLine: true,
	}
	pages := addPageFlags(cmd)
	device := cmd.Flags().String("device", "", "only those of the device `D`")
	state := wordFlag{words: states}
	cmd.Flags().Var(&state, "state", "only those in this state: available, running, paused, consumed or expired")
	cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
	kind := wordFlag{words: types}
	cmd.Flags().Var(&kind, "type", "only those of this type: time, data or time_or_data")
	cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(types, cobra.ShellCompDirectiveNoFileComp))
	provider := cmd.Flags().String("provider", "", "only those of the provider `NAME`; local are gatewayd's own")
	moments := make(map[string]*momentFlag)
	for name, what := range map[string]string{
		"created-after": "created then or later", "created-before": "created earlier",
		"expires-after": "that expire then or later", "expires-before": "that expire earlier",
	} {
		moments[name] = new(momentFlag)
		cmd.Flags().Var(moments[name], name, "only those "+what)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := url.Values{}
		for name, value := range map[string]string{"device": *device, "state": state.word, "type": kind.word, "provider": *provider} {
			if value != "" {
				query.Set(name, value)
			}
		}
		for name, at := range moments {
			if cmd.Flags().Changed(name) {
				query.Set(strings.ReplaceAll(name, "-", "_"), at.Format(time.RFC3339Nano))
			}
		}
		return list(cmd, opt, pages, "/sessions", query, showSessions)
	}
	return cmd
}

func newSessionsCreate(opt *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create --device D --type time|data|time_or_data [--time TIME] [--data DATA] [--expire-days DAYS] (--down SPEED --up SPEED | --global)\n" +
			"                        [--throttle SPEED | --throttle-down SPEED --throttle-up SPEED] [--weight N] [--count N]",
		Short: "Give a device a session, or several alike",
		Long: "Give a device a session. A session of type time ends when its time is used up, data when its data is,\n" +
			"time_or_data at whichever comes first. Time runs only while the device is connected; with --expire-days\n" +
			"what is left is lost that many days after its time from the first start. When all clients together want\n" +
			"more than bandwidth.total, one of weight 3 gets three times what one of weight 1 gets.\n\n" +
			"A session that is used up gives way to the device's next one, or the device is disconnected. With --throttle\n" +
			"it goes on at that speed instead, until there is a next one, it is topped up or it expires; what passes\n" +
			"is counted, time is not. With --expire-days it may also be connected again until then; without, a throttled\n" +
			"session that is disconnected has ended.\n\n" +
			"With --count the device gets N of them at once, all or none.",
		Example: "  gatewayd sessions create --device 10.10.0.2 --type time_or_data --time 1h --data 100MB --expire-days 30 --down 5Mbit --up 3Mbit\n" +
			"  gatewayd sessions create --device 1 --type time --time 30m --global\n" +
			"  gatewayd sessions create --device 1 --type data --data 10GB --expire-days 30 --down 50Mbit --up 10Mbit --throttle 512kbit",
		Args: takes(), DisableFlagsInUseLine: true,
	}
	device := cmd.Flags().String("device", "", "the device `D`: its id, MAC or IP")
	kind := wordFlag{words: types}
	cmd.Flags().Var(&kind, "type", "what ends it: time, data or time_or_data")
	cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(types, cobra.ShellCompDirectiveNoFileComp))
	plan := addPlanFlags(cmd)
	count := cmd.Flags().Int("count", 1, "`N` sessions alike, 1 to 100")
	cmd.MarkFlagRequired("device")
	cmd.MarkFlagRequired("type")
	cmd.MarkFlagsRequiredTogether("down", "up")
	cmd.MarkFlagsOneRequired("down", "global")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		hasTime, hasData := cmd.Flags().Changed("time"), cmd.Flags().Changed("data")
		if wants := kind.word != "data"; wants != hasTime {
			return needs(kind.word, "--time", wants)
		}
		if wants := kind.word != "time"; wants != hasData {
			return needs(kind.word, "--data", wants)
		}
		body := plan.changed(cmd)
		body["type"] = kind.word
		show := func(w io.Writer, s session) {
			fmt.Fprintf(w, "session %d for device %d: %s, %s, %s; start it with gatewayd connect %d\n",
				s.ID, s.DeviceID, s.Type, s.total(), s.speed(), s.DeviceID)
		}
		if !cmd.Flags().Changed("count") {
			return answer(cmd, opt, "POST", devicePath(*device)+"/sessions", body, show)
		}
		if *count < 1 || *count > 100 {
			return fmt.Errorf("--count %d: want 1 to 100", *count)
		}
		batch := map[string]any{"items": slices.Repeat([]map[string]any{body}, *count)}
		return answer(cmd, opt, "POST", devicePath(*device)+"/sessions/batch", batch, func(w io.Writer, made page[session]) {
			for _, s := range made.Items {
				show(w, s)
			}
		})
	}
	return cmd
}

func needs(kind, flag string, wants bool) error {
	if wants {
		return fmt.Errorf("a session of type %s needs %s", kind, flag)
	}
	return fmt.Errorf("a session of type %s has no %s; did you mean --type time_or_data?", kind, flag)
}

func newSessionsShow(opt *options) *cobra.Command {
	cmd := &cobra.Command{Use: "show ID [--ledger [--limit N] [--cursor CURSOR]]", Short: "Show one session, or where its time and data went",
		Long: "Show one session. With --ledger, all that it did, of a deleted one too: when it was used, for how long and how\n" +
			"much, what stopped it, and what was left after that. The rows add up to what it has used.",
		Args: sessionID, DisableFlagsInUseLine: true}
	pages := addPageFlags(cmd)
	ledger := cmd.Flags().Bool("ledger", false, "where its time and data went, a line a row")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch paged := cmd.Flags().Changed("limit") || cmd.Flags().Changed("cursor"); {
		case *ledger:
			return list(cmd, opt, pages, "/sessions/"+args[0]+"/ledger", url.Values{}, showLedger)
		case paged:
			return errors.New("--limit and --cursor go with --ledger")
		}
		return answer(cmd, opt, "GET", "/sessions/"+args[0], nil, showSession)
	}
	return cmd
}

func newSessionsSet(opt *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set ID [--time TIME] [--data DATA] [--expire-days DAYS] [--down SPEED] [--up SPEED] [--global] [--throttle SPEED] [--weight N]",
		Short: "Change a session, running or not",
		Long: "Change a session; what is not named stays. --time and --data are totals: a session of 1h that gets\n" +
			"--time 2h has an hour more. A change of a running session applies at once.",
		Args: sessionID, DisableFlagsInUseLine: true,
	}
	plan := addPlanFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := plan.changed(cmd)
		if len(body) == 0 {
			return errors.New("say what to change, such as --time 2h")
		}
		return answer(cmd, opt, "PATCH", "/sessions/"+args[0], body, showSession)
	}
	return cmd
}

func newSessionsDelete(opt *options) *cobra.Command {
	return &cobra.Command{Use: "delete ID", Short: "Delete a session, and what is left of it", Args: sessionID, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return answer(cmd, opt, "DELETE", "/sessions/"+args[0], nil, func(w io.Writer, _ struct{}) {
				fmt.Fprintf(w, "session %s is deleted\n", args[0])
			})
		},
	}
}

// sessionID takes one argument, a session's number.
func sessionID(cmd *cobra.Command, args []string) error {
	if err := takes("ID")(cmd, args); err != nil {
		return err
	}
	if _, err := strconv.ParseUint(args[0], 10, 63); err != nil {
		return fmt.Errorf("%q is not a session's id; see gatewayd sessions list", args[0])
	}
	return nil
}

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// planFlags are the flags of a session's plan.
type planFlags struct {
	time     timeFlag
	data     dataFlag
	expiry   expiryFlag
	down, up speedFlag
	global   bool
	weight   int

	throttle, throttleDown, throttleUp bitsFlag
}

func addPlanFlags(cmd *cobra.Command) *planFlags {
	p := &planFlags{}
	cmd.Flags().Var(&p.time, "time", "its time in all, such as 1h")
	cmd.Flags().Var(&p.data, "data", "its data in all, such as 100MB (100,000,000 bytes)")
	cmd.Flags().Var(&p.expiry, "expire-days", "how many days after its first start and its time it expires, or never")
	cmd.Flags().Var(&p.down, "down", "its speed towards the device, in whole Mbit such as 5Mbit")
	cmd.Flags().Var(&p.up, "up", "its speed from the device, in whole Mbit such as 3Mbit")
	cmd.Flags().BoolVar(&p.global, "global", false, "the configured global speed instead of its own")
	cmd.Flags().IntVar(&p.weight, "weight", 1, "`N`, 1 to 100: its share of bandwidth.total beside other clients'")
	cmd.Flags().Var(&p.throttle, "throttle", "its speed both ways once it is used up, such as 512kbit, or none: it is cut off then")
	cmd.Flags().Var(&p.throttleDown, "throttle-down", "likewise towards the device")
	cmd.Flags().Var(&p.throttleUp, "throttle-up", "likewise from the device")
	cmd.MarkFlagsMutuallyExclusive("throttle", "throttle-down")
	cmd.MarkFlagsMutuallyExclusive("throttle", "throttle-up")
	cmd.MarkFlagsMutuallyExclusive("down", "global")
	cmd.MarkFlagsMutuallyExclusive("up", "global")
	return p
}

// changed returns what was set on the command line, under the API's names. A
// speed of its own ends the use of the global one.
func (p *planFlags) changed(cmd *cobra.Command) map[string]any {
	body := map[string]any{}
	set := func(flag, name string, value any) {
		if cmd.Flags().Changed(flag) {
			body[name] = value
		}
	}
	set("time", "time_secs", p.time)
	set("data", "data_mb", p.data)
	set("expire-days", "exp_days", p.expiry.json())
	set("down", "use_global_speed", false)
	set("up", "use_global_speed", false)
	set("down", "down_mbits", p.down)
	set("up", "up_mbits", p.up)
	set("global", "use_global_speed", p.global)
	set("weight", "weight", p.weight)
	set("throttle", "throttle_down_bits", p.throttle)
	set("throttle", "throttle_up_bits", p.throttle)
	set("throttle-down", "throttle_down_bits", p.throttleDown)
	set("throttle-up", "throttle_up_bits", p.throttleUp)
	return body
}

// wordFlag is one of a few words.
type wordFlag struct {
	word  string
	words []string
}

func (f *wordFlag) Type() string   { return "WORD" }
func (f *wordFlag) String() string { return f.word }

func (f *wordFlag) Set(text string) error {
	if !slices.Contains(f.words, text) {
		return fmt.Errorf("write one of %s", strings.Join(f.words, ", "))
	}
	f.word = text
	return nil
}

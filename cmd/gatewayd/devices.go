package main

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// device is what is shown of the API's device.
type device struct {
	ID        int64     `json:"id"`
	MAC       string    `json:"mac"`
	IP        string    `json:"ip"`
	IPv6      []string  `json:"ipv6"`
	Hostname  string    `json:"hostname"`
	Connected bool      `json:"connected"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Session   *session  `json:"session"`
}

func newDevices(opt *options) *cobra.Command {
	return group("devices", "List, show, sum up and add devices", newDevicesList(opt), newDevicesShow(opt), newDevicesSummary(opt), newDevicesAdd(opt))
}

func newDevicesList(opt *options) *cobra.Command {
	cmd := &cobra.Command{Use: "list [--limit N] [--cursor CURSOR]", Short: "List all devices",
		Args: takes(), DisableFlagsInUseLine: true}
	pages := addPageFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return list(cmd, opt, pages, "/devices", url.Values{}, showDevices)
	}
	return cmd
}

func newDevicesShow(opt *options) *cobra.Command {
	return &cobra.Command{Use: "show D", Short: "Show one device and its session",
		Args: takes("D"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return answer(cmd, opt, "GET", devicePath(args[0]), nil, showDevice)
		},
	}
}

func newDevicesAdd(opt *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "add --mac MAC [--ip IP] [--hostname NAME]", Short: "Make a device known ahead of its first packet",
		Long: "Make a device known ahead of its first packet, and with --ip bind that address to it, also over\n" +
			"a restart, until another device sends from it. Adding the same again is done; another address is\n" +
			"taken if nobody else answers at it.",
		Args: takes(), DisableFlagsInUseLine: true,
	}
	var body struct {
		MAC      string `json:"mac"`
		IP       string `json:"ip,omitempty"`
		Hostname string `json:"hostname,omitempty"`
	}
	cmd.Flags().StringVar(&body.MAC, "mac", "", "its `MAC` address")
	cmd.Flags().StringVar(&body.IP, "ip", "", "its `IP` address")
	cmd.Flags().StringVar(&body.Hostname, "hostname", "", "its `NAME`")
	cmd.MarkFlagRequired("mac")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return answer(cmd, opt, "POST", "/devices", body, func(w io.Writer, d device) {
			fmt.Fprintf(w, "device %d: %s at %s\n", d.ID, d.MAC, orDash(d.IP))
		})
	}
	return cmd
}

func newConnect(opt *options) *cobra.Command {
	return newSwitch(opt, "connect", "Let a device's packets pass, on its next available session", func(w io.Writer, d device) {
		fmt.Fprintf(w, "device %d (%s, %s) is connected", d.ID, d.MAC, orDash(d.IP))
		if d.Session != nil && d.Session.PauseReason != "" {
			fmt.Fprintf(w, ", and waits for the WAN: session %d begins by itself when that is back (%s)", d.Session.ID, d.Session.PauseReason)
		} else if d.Session != nil {
			fmt.Fprintf(w, ": session %d, %s left, %s", d.Session.ID, d.Session.left(), d.Session.speed())
		}
		fmt.Fprintln(w)
	})
}

func newDisconnect(opt *options) *cobra.Command {
	return newSwitch(opt, "disconnect", "Stop a device's packets and keep the rest of its session", func(w io.Writer, d device) {
		fmt.Fprintf(w, "device %d (%s, %s) is disconnected\n", d.ID, d.MAC, orDash(d.IP))
	})
}

func newPause(opt *options) *cobra.Command {
	return newSwitch(opt, "pause", "Stop a device's packets and its time; it stays connected, and only expiry runs on", func(w io.Writer, d device) {
		fmt.Fprintf(w, "device %d (%s, %s) is paused", d.ID, d.MAC, orDash(d.IP))
		if d.Session != nil {
			fmt.Fprintf(w, ": session %d, %s left; let it go on: gatewayd resume %d", d.Session.ID, d.Session.left(), d.ID)
		}
		fmt.Fprintln(w)
	})
}

func newResume(opt *options) *cobra.Command {
	return newSwitch(opt, "resume", "Let a paused device's packets pass again", func(w io.Writer, d device) {
		if d.Session != nil && d.Session.PauseReason != "" {
			fmt.Fprintf(w, "device %d (%s, %s) waits for the WAN: session %d goes on by itself when that is back (%s)\n",
				d.ID, d.MAC, orDash(d.IP), d.Session.ID, d.Session.PauseReason)
			return
		}
		fmt.Fprintf(w, "device %d (%s, %s) goes on", d.ID, d.MAC, orDash(d.IP))
		if d.Session != nil {
			fmt.Fprintf(w, ": session %d, %s left, %s", d.Session.ID, d.Session.left(), d.Session.speed())
		}
		fmt.Fprintln(w)
	})
}

func newSwitch(opt *options, word, short string, show func(io.Writer, device)) *cobra.Command {
	cmd := &cobra.Command{Use: word + " D [--notify TEXT]", Short: short, Args: takes("D"), DisableFlagsInUseLine: true}
	var body struct {
		Notify string `json:"notify,omitempty"`
	}
	cmd.Flags().StringVar(&body.Notify, "notify", "", "the `TEXT` that tells the client")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return answer(cmd, opt, "POST", devicePath(args[0])+"/"+word, body, show)
	}
	return cmd
}

func devicePath(key string) string { return "/devices/" + url.PathEscape(key) }

func showDevices(w io.Writer, devices []device) {
	if len(devices) == 0 {
		fmt.Fprintln(w, "no devices yet; add one with gatewayd devices add --mac MAC, or let one send a packet")
		return
	}
	now := time.Now()
	t := table(w)
	defer t.Flush()
	fmt.Fprintln(t, "ID\tMAC\tIP\tHOSTNAME\tCONNECTED\tSESSION\tLEFT\tSEEN")
	for _, d := range devices {
		number, left := "-", "-"
		if d.Session != nil {
			number, left = fmt.Sprint(d.Session.ID), d.Session.left()
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.MAC, orDash(d.IP), orDash(d.Hostname), yesNo(d.Connected),
			number, left, ago(d.LastSeen, now))
	}
}

func showDevice(w io.Writer, d device) {
	t := table(w)
	fmt.Fprintf(t, "device\t%d\n", d.ID)
	fmt.Fprintf(t, "connected\t%s\n", yesNo(d.Connected))
	fmt.Fprintf(t, "MAC\t%s\n", d.MAC)
	fmt.Fprintf(t, "IP\t%s\n", orDash(d.IP))
	for i, ip := range d.IPv6 {
		fmt.Fprintf(t, "%s\t%s\n", []string{"IPv6", ""}[min(i, 1)], ip)
	}
	fmt.Fprintf(t, "hostname\t%s\n", orDash(d.Hostname))
	fmt.Fprintf(t, "first seen\t%s\n", moment(&d.FirstSeen))
	fmt.Fprintf(t, "last seen\t%s\n", moment(&d.LastSeen))
	t.Flush()
	fmt.Fprintln(w)
	if d.Session == nil {
		fmt.Fprintf(w, "no session runs; its sessions: gatewayd sessions list --device %d\n", d.ID)
		return
	}
	showSession(w, *d.Session)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gatewayd/gateway/api/client"
)

// A daemon is gatewayd with one paying client.
type daemon struct {
	place   *lab
	process *process
	api     *client.Client
	session int
}

// newDaemon makes a lab, starts the binary as its gateway and connects the
// client.
func newDaemon(ctx context.Context, binary string) (d *daemon, err error) {
	place, err := newLab(ctx, "gatewayd")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(place.dir, "sock")
	d = &daemon{place: place, api: client.New(socket, patience)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make gatewayd the gateway: %w", err), d.stop())
		}
	}()
	config := fmt.Sprintf(`lan: {interface: %s, address: %s}
wan: {interface: %s, address: %s, gateway: %s}
host: {ports: none}
bandwidth: {global: {down: 100 Gbit, up: 100 Gbit}}
store: {path: %s}
api: {socket: %s}
`, lanPort, lanAddress, wanPort, wanAddress, serverIP, filepath.Join(place.dir, "store"), socket)
	file := filepath.Join(place.dir, "gatewayd.yaml")
	if err = os.WriteFile(file, []byte(config), 0o600); err != nil {
		return d, err
	}
	if d.process, err = start(place.gateway, filepath.Join(place.dir, "log"), binary, "run", "--config", file); err != nil {
		return d, err
	}
	if err = d.ready(ctx); err != nil {
		return d, err
	}
	if err = d.connect(ctx); err != nil {
		return d, err
	}
	err = place.answers(ctx)
	return d, err
}

// ready waits until gatewayd forwards.
func (d *daemon) ready(ctx context.Context) error {
	var err error
	for begin := time.Now(); time.Since(begin) < 2*patience && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if err := d.process.ended(); err != nil {
			return err
		}
		var status struct{ Ready bool }
		if err = d.api.Ask(ctx, http.MethodGet, "/status", nil, &status); err == nil && status.Ready {
			return nil
		}
	}
	return errors.Join(errors.New("gatewayd does not become ready"), err, ctx.Err())
}

// connect makes the client's device and plan, and lets it in.
func (d *daemon) connect(ctx context.Context) error {
	device := map[string]any{"mac": clientMAC, "ip": clientIP}
	if err := d.api.Ask(ctx, http.MethodPost, "/devices", device, nil); err != nil {
		return err
	}
	plan := map[string]any{"type": "time", "time_secs": 86400, "use_global_speed": true}
	var session struct{ ID int }
	if err := d.api.Ask(ctx, http.MethodPost, "/devices/"+clientMAC+"/sessions", plan, &session); err != nil {
		return err
	}
	d.session = session.ID
	return d.api.Ask(ctx, http.MethodPost, "/devices/"+clientMAC+"/connect", map[string]any{}, nil)
}

func (d *daemon) name() string { return "gatewayd" }
func (d *daemon) lab() *lab    { return d.place }

func (d *daemon) stop() error {
	var err error
	if d.process != nil {
		err = d.process.end()
	}
	return errors.Join(err, d.place.remove())
}

// Names of a daemon's counts; its drops have their reason's name.
const (
	billedUp, billedDown     = "billed_up_bytes", "billed_down_bytes"
	refusedUp, refusedDown   = "refused_up_packets", "refused_down_packets"       // the kernel did not take them: not billed
	vanishedUp, vanishedDown = "port_drops_up_packets", "port_drops_down_packets" // the port's own tx drops
	overflowUp, overflowDown = "overflow_up_packets", "overflow_down_packets"     // dropped before gatewayd read them
)

// counts reads the session's bill, the status and the ports' own drops.
func (d *daemon) counts(ctx context.Context) (counts, error) {
	var bill struct {
		Up   uint64 `json:"up_bytes"`
		Down uint64 `json:"down_bytes"`
	}
	if err := d.api.Ask(ctx, http.MethodGet, "/sessions/"+strconv.Itoa(d.session), nil, &bill); err != nil {
		return nil, err
	}
	type port struct{ Refused, Overflow uint64 }
	var status struct {
		Ports struct{ LAN, WAN port }
		Drops map[string]uint64
	}
	if err := d.api.Ask(ctx, http.MethodGet, "/status", nil, &status); err != nil {
		return nil, err
	}
	c := counts{
		billedUp: bill.Up, billedDown: bill.Down,
		refusedUp: status.Ports.WAN.Refused, refusedDown: status.Ports.LAN.Refused,
		overflowUp: status.Ports.LAN.Overflow, overflowDown: status.Ports.WAN.Overflow,
	}
	for reason, n := range status.Drops {
		c["drop_"+reason] = n
	}
	err := within(d.place.gateway, func() (err error) {
		if c[vanishedUp], err = portDrops(wanPort); err == nil {
			c[vanishedDown], err = portDrops(lanPort)
		}
		return err
	})
	return c, err
}

// portDrops reads the transmit drops that an interface of the thread's namespace
// has counted itself, from /proc/thread-self/net/dev.
func portDrops(name string) (uint64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return 0, err
	}
	const txDrops = 11 // the field's place after the name
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, ":")
		if fields := strings.Fields(after); strings.TrimSpace(before) == name && len(fields) > txDrops {
			return strconv.ParseUint(fields[txDrops], 10, 64)
		}
	}
	return 0, fmt.Errorf("interface %s is not in /proc/net/dev", name)
}

// prove wants the bill to be what arrived, to the byte. Where ports dropped
// packets that they had taken, the bill may be higher by at most their bytes.
func (d *daemon) prove(rose counts, a arrival, f figure) error {
	for _, way := range []struct {
		direction string
		billed    uint64
		arrived   traffic
		lost      uint64 // packets
	}{
		{"up", rose[billedUp], a.Up, rose[vanishedUp] - min(rose[vanishedUp], rose[refusedUp])},
		{"down", rose[billedDown], a.Down, rose[vanishedDown] - min(rose[vanishedDown], rose[refusedDown])},
	} {
		if over := int64(way.billed - way.arrived.Bytes); over < 0 || over > int64(way.lost)*65535 {
			return fmt.Errorf("billed %d bytes %s, but %d arrived and the port dropped %d packets (difference %d)",
				way.billed, way.direction, way.arrived.Bytes, way.lost, over)
		}
	}
	if a.Up.Packets == 0 || f.answers && a.Down.Packets == 0 {
		return errors.New("nothing arrived")
	}
	return nil
}

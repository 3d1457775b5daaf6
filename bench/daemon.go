package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatewayd/gateway/api/client"
)

// A daemon is gatewayd with paying clients.
type daemon struct {
	kind     string // ourselves or routed
	place    *lab
	binary   string
	process  *process
	api      *client.Client
	clients  int
	sessions map[int]int // number of the client whose session it is
	global   bits        // what the config gives each session
	changed  bool        // its sessions have something else
	weighted bool        // among it weights
}

// newDaemon makes a lab, starts the binary as its gateway and connects the
// clients.
func newDaemon(ctx context.Context, binary, kind string, s setting) (d *daemon, err error) {
	s.bridge = s.bridge && kind != routed
	place, err := newLab(ctx, map[string]string{ourselves: "g", routed: "r"}[kind]+s.key, s)
	if err != nil {
		return nil, err
	}
	d = &daemon{kind: kind, place: place, binary: binary, clients: s.clients, global: s.rate, sessions: map[int]int{}, api: client.New(place.socket(), 5*patience)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make gatewayd the gateway: %w", err), d.stop())
		}
	}()
	if err = os.WriteFile(d.config(), []byte(configText(place, s)), 0o600); err != nil {
		return d, err
	}
	if err = d.start(ctx); err != nil {
		return d, err
	}
	if err = d.letIn(ctx); err != nil {
		return d, err
	}
	return d, place.ping(ctx)
}

func (l *lab) socket() string    { return filepath.Join(l.dir, "sock") }
func (d *daemon) config() string { return filepath.Join(d.place.dir, "gatewayd.yaml") }

// configText is gatewayd's config.
func configText(l *lab, s setting) string {
	total := ""
	if s.total != 0 {
		total = fmt.Sprintf("total: {down: %s, up: %s}, ", s.total.text(), s.total.text())
	}
	mode, wan := "route", fmt.Sprintf(", address: %s, gateway: %s", wanAddress, serverIP)
	if s.bridge {
		mode, wan = "bridge", ""
	}
	text := fmt.Sprintf(`mode: %s
lan: {interface: %s, address: %s}
wan: {interface: %s%s}
host: {ports: none}
bandwidth: {%sglobal: {down: %s, up: %s}}
store: {path: %s}
api: {socket: %s}
`, mode, lanPort, lanAddress, wanPort, wan, total, s.rate.text(), s.rate.text(), filepath.Join(l.dir, "store"), l.socket())
	if s.raised {
		text += "limits: {clients: 16384, nat_flows: 262144, flows_per_client: 16384, ports_per_client: 16384}\n"
	}
	return text
}

// start starts the binary and waits until it forwards.
func (d *daemon) start(ctx context.Context) (err error) {
	d.process, err = start(d.place.gateway, filepath.Join(d.place.dir, "log"), d.binary, "run", "--config", d.config())
	if err != nil {
		return err
	}
	return d.ready(ctx, 0)
}

// ready waits until gatewayd forwards for so many clients.
func (d *daemon) ready(ctx context.Context, connected int) error {
	var err error
	for begin := time.Now(); time.Since(begin) < 6*patience && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if err := d.process.ended(); err != nil {
			return err
		}
		var status struct {
			Ready   bool
			Clients struct{ Connected int }
		}
		if err = d.api.Ask(ctx, http.MethodGet, "/status", nil, &status); err == nil && status.Ready && status.Clients.Connected >= connected {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("gatewayd does not become ready for %d clients", connected), err, ctx.Err())
}

// doors is how many clients are let in at once.
const doors = 64

// letIn makes each client's device and plan, and lets it in.
func (d *daemon) letIn(ctx context.Context) error {
	var (
		wait    sync.WaitGroup
		mu      sync.Mutex // guards d.sessions and problem
		problem error
	)
	for door := range min(doors, d.clients) {
		wait.Go(func() {
			for i := door; i < d.clients; i += doors {
				session, err := d.connect(ctx, memberAt(i))
				mu.Lock()
				d.sessions[session] = i
				problem = errors.Join(problem, err)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wait.Wait()
	return problem
}

// connect makes one client's device and plan, lets it in and returns its session.
func (d *daemon) connect(ctx context.Context, m member) (session int, err error) {
	path := "/devices/" + m.mac.String()
	device := map[string]any{"mac": m.mac.String(), "ip": m.ip.String()}
	if err := d.api.Ask(ctx, http.MethodPost, "/devices", device, nil); err != nil {
		return 0, err
	}
	plan := map[string]any{"type": "time", "time_secs": 86400, "use_global_speed": true}
	var made struct{ ID int }
	if err := d.api.Ask(ctx, http.MethodPost, path+"/sessions", plan, &made); err != nil {
		return 0, err
	}
	return made.ID, d.api.Ask(ctx, http.MethodPost, path+"/connect", map[string]any{}, nil)
}

func (d *daemon) name() string { return d.kind }
func (d *daemon) lab() *lab    { return d.place }

// prepare starts gatewayd anew for a fresh trial: all its flows are gone, and its
// clients go on with their next packet.
func (d *daemon) prepare(ctx context.Context, t trial) error {
	if !t.fresh {
		return nil
	}
	err := d.process.end()
	if d.process = nil; err != nil {
		return err
	}
	if err := d.start(ctx); err != nil {
		return err
	}
	hello := stream{clients: d.clients, mappings: d.clients, remotes: 1, first: newPort(), port: discard, size: smallFrame}
	spoken := send(d.place, hello, byMessages, 5000)
	err = d.ready(ctx, d.clients)
	_, problem := spoken.stop()
	if err = errors.Join(err, problem); err != nil {
		return err
	}
	return d.place.ping(ctx)
}

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
	ownCPU                   = "own_cpu_ns"                                       // that its processes have used
	overflowUp, overflowDown = "overflow_up_packets", "overflow_down_packets"     // dropped before gatewayd read them
)

// counts reads the sessions' bills, the status and the ports' own drops.
func (d *daemon) counts(ctx context.Context) (reading, error) {
	r := reading{sums: counts{}, each: make([]uint64, d.clients), down: make([]uint64, d.clients)}
	c := r.sums
	if err := d.bills(ctx, &r); err != nil {
		return r, err
	}
	type port struct{ Refused, Overflow uint64 }
	var status struct {
		Ports struct{ LAN, WAN port }
		Drops map[string]uint64
	}
	if err := d.api.Ask(ctx, http.MethodGet, "/status", nil, &status); err != nil {
		return r, err
	}
	c[refusedUp], c[refusedDown] = status.Ports.WAN.Refused, status.Ports.LAN.Refused
	c[overflowUp], c[overflowDown] = status.Ports.LAN.Overflow, status.Ports.WAN.Overflow
	for reason, n := range status.Drops {
		c["drop_"+reason] = n
	}
	used, err := cpu(d.process.cmd.Process.Pid)
	if err != nil {
		return r, err
	}
	c[ownCPU] = uint64(used)
	err = within(d.place.gateway, func() (err error) {
		if c[vanishedUp], err = portDrops(wanPort); err == nil {
			c[vanishedDown], err = portDrops(lanPort)
		}
		return err
	})
	return r, err
}

// bills reads all sessions.
func (d *daemon) bills(ctx context.Context, r *reading) error {
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				ID   int
				Up   uint64 `json:"up_bytes"`
				Down uint64 `json:"down_bytes"`
			}
			Next string
		}
		query := url.Values{"limit": {"1000"}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		if err := d.api.Ask(ctx, http.MethodGet, "/sessions?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for _, s := range page.Items {
			client, known := d.sessions[s.ID]
			if !known {
				return fmt.Errorf("session %d is nobody's", s.ID)
			}
			r.sums[billedUp] += s.Up
			r.sums[billedDown] += s.Down
			r.each[client] += s.Up
			r.down[client] += s.Down
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
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
// packets that they had taken, the bill may be higher by their bytes. Below
// saturation every client's own bill must be what it sent.
func (d *daemon) prove(rose reading, a arrival, t trial, o outcome) error {
	c := rose.sums
	longest := 65535
	if o.wire != 0 {
		longest = o.wire
	}
	for _, way := range []struct {
		direction  string
		billed     uint64
		arrived    traffic
		lost       uint64   // packets
		bills, got []uint64 // of each client; got is nil where it was not counted
	}{
		{"up", c[billedUp], a.Up, c[vanishedUp] - min(c[vanishedUp], c[refusedUp]), rose.each, o.gotUp},
		{"down", c[billedDown], a.Down, c[vanishedDown] - min(c[vanishedDown], c[refusedDown]), rose.down, o.gotDown},
	} {
		if over := int64(way.billed - way.arrived.Bytes); over < 0 || over > int64(way.lost)*int64(longest) {
			return fmt.Errorf("billed %d bytes %s, but %d arrived and the port dropped %d packets (difference %d)",
				way.billed, way.direction, way.arrived.Bytes, way.lost, over)
		}
		for i, got := range way.got {
			if way.lost == 0 && way.bills[i] != got {
				return fmt.Errorf("client %d of %d was billed %d bytes %s, but %d of its arrived", i+1, d.clients, way.bills[i], way.direction, got)
			}
		}
	}
	if a.Up.Packets == 0 || t.answers && a.Down.Packets == 0 {
		return errors.New("nothing arrived")
	}
	for i, sent := range o.sentBy {
		if rose.each[i] != sent {
			return fmt.Errorf("client %d of %d was billed %d bytes, but sent %d", i+1, d.clients, rose.each[i], sent)
		}
	}
	return nil
}

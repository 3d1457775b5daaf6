package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is one scalar of the file.
type value struct {
	text   string // without quotes
	quoted bool
}

// when is when a running gateway takes over a new value of a key: at a reload, with
// no packet, flow or session lost, or at a restart, for the reason that it is. Empty
// is neither, so that no key is without.
type when string

// The moments, and what needs a restart.
const (
	atReload   when = "reload"
	forPorts   when = "the ports are taken from the kernel, and clients told the address, at the start"
	forHost    when = "the box's own link and its routes are made at the start"
	forMemory  when = "the memory is taken at the start"
	forProcess when = "processes and their sockets are made by it"
	forStore   when = "what was sold lies there"
	forMode    when = "what is between the ports is made at the start"
)

// key is one key of the file and how its value gets into a Config. A key with
// item also takes a list: size makes room for its n entries, item sets entry i.
type key struct {
	path string
	when when
	set  func(*Config, value) error
	size func(c *Config, n int)
	item func(i int) func(*Config, value) error
}

// keys is every key there is. What is not here is unknown.
var keys = []key{
	{path: "mode", when: forMode, set: into(parseText, func(c *Config) *string { return &c.Mode })},
	{path: "workers", when: forProcess, set: into(parseWorkers, func(c *Config) *int { return &c.Workers })},
	{path: "lan.interface", when: forPorts, set: into(parseText, func(c *Config) *string { return &c.LAN.Interface })},
	{path: "lan.tap", when: forPorts, set: into(parseText, func(c *Config) *string { return &c.LAN.TAP })},
	{path: "lan.address", when: forPorts, set: into(prefixLike("10.10.0.1/16"), func(c *Config) *netip.Prefix { return &c.LAN.Address })},
	{path: "wan.interface", when: forPorts, set: into(parseText, func(c *Config) *string { return &c.WAN.Interface })},
	{path: "wan.tap", when: forPorts, set: into(parseText, func(c *Config) *string { return &c.WAN.TAP })},
	{path: "wan.address", when: atReload, set: setAddress, size: sizeAddresses, item: setAddressAt},
	{path: "wan.gateway", when: atReload, set: into(parseAddr, func(c *Config) *netip.Addr { return &c.WAN.Gateway })},
	{path: "host.default_route", when: forHost, set: into(parseBool, func(c *Config) *bool { return &c.Host.DefaultRoute })},
	{path: "host.ports", when: atReload, set: setPorts, size: sizePorts, item: setPort},
	{path: "nat.filtering", when: atReload, set: into(parseText, func(c *Config) *string { return &c.NAT.Filtering })},
	{path: "forwards", when: atReload, set: setForwards, size: sizeForwards, item: setForward},
	{path: "bandwidth.total.down", when: atReload, set: into(unquote(ParseRate), func(c *Config) *Rate { return &c.Bandwidth.Total.Down })},
	{path: "bandwidth.total.up", when: atReload, set: into(unquote(ParseRate), func(c *Config) *Rate { return &c.Bandwidth.Total.Up })},
	{path: "bandwidth.global.down", when: atReload, set: into(unquote(ParseRate), func(c *Config) *Rate { return &c.Bandwidth.Global.Down })},
	{path: "bandwidth.global.up", when: atReload, set: into(unquote(ParseRate), func(c *Config) *Rate { return &c.Bandwidth.Global.Up })},
	{path: "sessions.resume_on_restart", when: atReload, set: into(parseBool, func(c *Config) *bool { return &c.Sessions.ResumeOnRestart })},
	{path: "sessions.ledger_keep", when: atReload, set: into(unquote(ParseDuration), func(c *Config) *time.Duration { return &c.Sessions.LedgerKeep })},
	{path: "sessions.idle_pause", when: atReload, set: into(unquote(ParseDuration), func(c *Config) *time.Duration { return &c.Sessions.IdlePause })},
	{path: "sessions.pause_on_carrier_loss", when: atReload, set: into(parseBool, func(c *Config) *bool { return &c.Sessions.PauseOnCarrierLoss })},
	{path: "sessions.pause_on_silent_gateway", when: atReload, set: into(unquote(ParseDuration), func(c *Config) *time.Duration { return &c.Sessions.PauseOnSilentGateway })},
	{path: "store.path", when: forStore, set: into(parseText, func(c *Config) *string { return &c.Store.Path })},
	{path: "store.checkpoint", when: atReload, set: into(unquote(ParseDuration), func(c *Config) *time.Duration { return &c.Store.Checkpoint })},
	{path: "api.socket", when: forProcess, set: into(parseText, func(c *Config) *string { return &c.API.Socket })},
	{path: "metrics.listen", when: atReload, set: into(parseText, func(c *Config) *string { return &c.Metrics.Listen })},
	{path: "log.level", when: atReload, set: into(parseText, func(c *Config) *string { return &c.Log.Level })},
	{path: "log.format", when: atReload, set: into(parseText, func(c *Config) *string { return &c.Log.Format })},
	{path: "limits.clients", when: forMemory, set: into(parseCount, func(c *Config) *int { return &c.Limits.Clients })},
	{path: "limits.nat_flows", when: forMemory, set: into(parseCount, func(c *Config) *int { return &c.Limits.NATFlows })},
	{path: "limits.flows_per_client", when: atReload, set: into(parseCount, func(c *Config) *int { return &c.Limits.FlowsPerClient })},
	{path: "limits.ports_per_client", when: atReload, set: into(parseCount, func(c *Config) *int { return &c.Limits.PortsPerClient })},
	{path: "limits.queue_memory", when: forMemory, set: into(unquote(ParseSize), func(c *Config) *Size { return &c.Limits.QueueMemory })},
	{path: "kernel.without", when: forProcess, set: setWithout, size: sizeWithout, item: setFeature},
}

// into makes a setter that parses a value and stores it in one field.
func into[T any](parse func(value) (T, error), field func(*Config) *T) func(*Config, value) error {
	return func(c *Config, v value) error {
		parsed, err := parse(v)
		if err == nil {
			*field(c) = parsed
		}
		return err
	}
}

// find returns the key at a path; ok is false for a section and for what does not exist.
func find(path string) (k key, ok bool) {
	i := slices.IndexFunc(keys, func(k key) bool { return k.path == path })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

// names lists what may stand in a section; the file itself is the section "".
func names(section string) []string {
	var list []string
	for _, k := range keys {
		rest, inside := k.path, true
		if section != "" {
			rest, inside = strings.CutPrefix(k.path, section+".")
		}
		if name, _, _ := strings.Cut(rest, "."); inside && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// unknown says what would be right in place of a name that a section does not
// have, and returns the path that was probably meant, if there is one.
func unknown(section, name string) (reason, meant string) {
	allowed := names(section)
	if near := nearest(name, allowed); near != "" {
		return fmt.Sprintf("unknown key; did you mean %s?", near), join(section, near)
	}
	where := "at the top of the file"
	if section != "" {
		where = "under " + section
	}
	if _, dotted := find(name); dotted {
		last := strings.LastIndexByte(name, '.')
		return fmt.Sprintf("unknown key %s; write %s under %s, on a line of its own", where, name[last+1:], name[:last]), name
	}
	var elsewhere []string
	for _, k := range keys {
		if strings.HasSuffix(k.path, "."+name) {
			elsewhere = append(elsewhere, k.path)
		}
	}
	if elsewhere != nil {
		return fmt.Sprintf("unknown key %s; did you mean %s?", where, strings.Join(elsewhere, " or ")), ""
	}
	return fmt.Sprintf("unknown key; %s there can be %s", where, strings.Join(allowed, ", ")), ""
}

// join returns the path of a name in a section.
func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

func parseText(v value) (string, error) { return v.text, nil }

func unquote[T any](parse func(string) (T, error)) func(value) (T, error) {
	return func(v value) (T, error) { return parse(v.text) }
}

func parseBool(v value) (bool, error) {
	if v.quoted || v.text != "true" && v.text != "false" {
		return false, fmt.Errorf("%q is neither true nor false; write true or false, without quotes", v.text)
	}
	return v.text == "true", nil
}

func parseCount(v value) (int, error) {
	n, err := strconv.ParseInt(v.text, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is far out of range; write a number such as 4096", v.text)
	}
	if v.quoted || err != nil {
		return 0, fmt.Errorf("%q is not a whole number; write one such as 4096, without quotes, unit or exponent", v.text)
	}
	return int(n), nil
}

// parseWorkers reads a number of workers; auto is 0.
func parseWorkers(v value) (int, error) {
	if v.text == "auto" {
		return 0, nil
	}
	n, err := parseCount(v)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of workers; write one such as 2, without quotes, or auto", v.text)
	}
	return n, nil
}

// prefixLike makes the parser of an own address; such is the example its errors give.
func prefixLike(such string) func(value) (netip.Prefix, error) {
	return func(v value) (netip.Prefix, error) {
		p, err := netip.ParsePrefix(v.text)
		if err == nil {
			return p, nil
		}
		if a, err := netip.ParseAddr(v.text); err == nil && a.Is4() {
			return p, fmt.Errorf("%v lacks its prefix length; write it such as %v/24", a, a)
		}
		return p, fmt.Errorf("%q is not an address with a prefix length; write it such as %s", v.text, such)
	}
}

func parseAddr(v value) (netip.Addr, error) {
	a, err := netip.ParseAddr(v.text)
	if err == nil && a.Is4() {
		return a, nil
	}
	if p, err := netip.ParsePrefix(v.text); err == nil && p.Addr().Is4() {
		return a, fmt.Errorf("%v has a prefix length, which belongs to wan.address; write %v", p, p.Addr())
	}
	return a, fmt.Errorf("%q is not an IPv4 address; write it such as 203.0.113.1", v.text)
}

// wanSuch is what errors give as an example of an address on the WAN.
const wanSuch = "203.0.113.2/24"

func setAddress(c *Config, v value) error {
	if v.text == "dhcp" {
		c.WAN.Addresses = Addresses{DHCP: true}
		return nil
	}
	sizeAddresses(c, 1)
	return into(prefixLike(wanSuch+", or dhcp"), func(c *Config) *netip.Prefix { return &c.WAN.Addresses.List[0] })(c, v)
}

func sizeAddresses(c *Config, n int) {
	c.WAN.Addresses = Addresses{}
	if n > 0 {
		c.WAN.Addresses.List = make([]netip.Prefix, n)
	}
}

func setAddressAt(i int) func(*Config, value) error {
	return into(prefixLike(wanSuch), func(c *Config) *netip.Prefix { return &c.WAN.Addresses.List[i] })
}

func setWithout(_ *Config, v value) error {
	return fmt.Errorf("%q is not a list; write [%s], or [] for none", v.text, v.text)
}

func sizeWithout(c *Config, n int) {
	c.Kernel.Without = nil
	if n > 0 {
		c.Kernel.Without = make([]string, n)
	}
}

func setFeature(i int) func(*Config, value) error {
	return into(parseText, func(c *Config) *string { return &c.Kernel.Without[i] })
}

func setForwards(_ *Config, v value) error {
	if _, err := parseForward(v.text); err == nil {
		return fmt.Errorf("one forward is a list too; write [%s]", v.text)
	}
	return fmt.Errorf("%q is not a list; write one such as [%s], or [] for none", v.text, aForward)
}

func sizeForwards(c *Config, n int) {
	c.Forwards = nil
	if n > 0 {
		c.Forwards = make([]Forward, n)
	}
}

func setForward(i int) func(*Config, value) error {
	return into(unquote(parseForward), func(c *Config) *Forward { return &c.Forwards[i] })
}

func setPorts(c *Config, v value) error {
	switch v.text {
	case "all":
		c.Host.Ports = Ports{All: true}
	case "none":
		c.Host.Ports = Ports{}
	default:
		if _, err := parsePortRange(v.text); err == nil {
			return fmt.Errorf("one port is a list too; write [%s]", v.text)
		}
		return fmt.Errorf("%q is not known; write all, none or a list such as [tcp/80, udp/53, tcp/8000-8010]", v.text)
	}
	return nil
}

func sizePorts(c *Config, n int) {
	c.Host.Ports = Ports{}
	if n > 0 {
		c.Host.Ports.List = make([]PortRange, n)
	}
}

func setPort(i int) func(*Config, value) error {
	return func(c *Config, v value) error {
		r, err := parsePortRange(v.text)
		if err != nil && (v.text == "all" || v.text == "none") {
			return fmt.Errorf("%s stands alone; write ports: %s, without a list", v.text, v.text)
		}
		c.Host.Ports.List[i] = r
		return err
	}
}

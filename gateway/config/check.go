package config

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The ranges that Check holds values to.
const (
	minRate, maxRate             = 64 * Kbit, 100 * Gbit
	minCheckpoint, maxCheckpoint = time.Second, 10 * time.Minute
	minKeep, maxKeep             = time.Hour, 3650 * day
	minIdle, maxIdle             = time.Second, 7 * day
	minSilence, maxSilence       = 5 * time.Second, time.Hour // silent so long in spite of ARP probes
	minClients, maxClients       = 1, 16384
	minNATFlows, maxNATFlows     = 64, 1048576
	maxWorkers                   = 16
	minQueue, maxQueue           = 1 * MB, 1 * GB
	maxPortsPerClient            = 64512 // all ports but the first 1024
	maxInterface                 = 15    // IFNAMSIZ less the closing NUL
	maxAddresses                 = 16    // of the gateway's own on the WAN
	maxSocket                    = 107   // sun_path less the closing NUL, unix(7)
	shortestPrefix               = 8     // no side is larger than 10.0.0.0/8
	longestLAN, longestWAN       = 30, 31
)

// missing begins the reason about a key that is required and not there; what
// to write follows.
const missing = "missing; "

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	modes      = []string{ModeRoute, ModeBridge}
	logFormats = []string{"text", "json"}
	filterings = []string{FilterEndpoint, FilterAddress, FilterAddressPort}
	features   = []string{TCX, Ring, TransmitRing, Joining, TapUDP, Landlock}

	shared = []netip.Prefix{ // RFC 1918 and RFC 6598
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	}
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	reserved    = netip.MustParsePrefix("240.0.0.0/4")
)

// Check returns nil if a gateway can be built from c, else Errors: one Error
// for each problem, with its key and without a place.
func (c *Config) Check() error {
	var errs Errors
	for _, p := range c.problems() {
		errs = append(errs, Error{Key: p.key, Reason: p.reason})
	}
	if errs == nil {
		return nil
	}
	return errs
}

// problem is one thing wrong with a key's value. It says nothing new when the
// value of one of the keys in with could not be read.
type problem struct {
	key    string
	reason string
	with   []string
}

// checker gathers problems.
type checker []problem

// say adds a problem unless reason is empty.
func (k *checker) say(key, reason string, with ...string) {
	if reason != "" {
		*k = append(*k, problem{key, reason, with})
	}
}

func (c *Config) problems() []problem {
	var k checker
	k.say("mode", oneOf(c.Mode, modes))
	k.workers(c)
	k.side("lan", c.LAN.Interface, c.LAN.TAP, "towards the clients, such as eth1")
	k.side("wan", c.WAN.Interface, c.WAN.TAP, "towards the internet, such as eth0")
	k.samePort(c)
	c.addresses(&k)
	c.hostPorts(&k)
	c.forwards(&k)
	k.say("nat.filtering", oneOf(c.NAT.Filtering, filterings))
	k.say("bandwidth.total.down", checkRate(c.Bandwidth.Total.Down))
	k.say("bandwidth.total.up", checkRate(c.Bandwidth.Total.Up))
	k.say("bandwidth.global.down", checkRate(c.Bandwidth.Global.Down))
	k.say("bandwidth.global.up", checkRate(c.Bandwidth.Global.Up))
	if d := c.Sessions.LedgerKeep; d < minKeep || d > maxKeep {
		k.say("sessions.ledger_keep", fmt.Sprintf("%s is out of range; write %s to %s",
			FormatDuration(d), FormatDuration(minKeep), FormatDuration(maxKeep)))
	}
	k.say("sessions.idle_pause", checkOff(c.Sessions.IdlePause, minIdle, maxIdle))
	k.say("sessions.pause_on_silent_gateway", checkOff(c.Sessions.PauseOnSilentGateway, minSilence, maxSilence))
	k.say("store.path", checkDirectory(c.Store.Path))
	if d := c.Store.Checkpoint; d < minCheckpoint || d > maxCheckpoint {
		k.say("store.checkpoint", fmt.Sprintf("%s is out of range; write %s to %s",
			FormatDuration(d), FormatDuration(minCheckpoint), FormatDuration(maxCheckpoint)))
	}
	k.say("api.socket", checkSocket(c.API.Socket))
	if p := c.API.Socket; p != "" && path.Clean(p) == path.Clean(c.Store.Path) {
		k.say("api.socket", fmt.Sprintf("%s is store.path, a directory; write a file such as %s", p, Default().API.Socket), "store.path")
	}
	k.say("metrics.listen", checkListen(c.Metrics.Listen))
	if a, err := netip.ParseAddrPort(c.Metrics.Listen); err == nil && c.WAN.has(a.Addr()) {
		k.say("metrics.listen", fmt.Sprintf("%v is wan.address, where gatewayd serves nothing; write an address such as %s",
			a.Addr(), Default().Metrics.Listen), "wan.address")
	}
	k.say("log.level", oneOf(c.Log.Level, logLevels))
	k.say("log.format", oneOf(c.Log.Format, logFormats))
	k.say("limits.clients", checkRange(c.Limits.Clients, minClients, maxClients))
	k.say("limits.nat_flows", checkRange(c.Limits.NATFlows, minNATFlows, maxNATFlows))
	if per, all := c.Limits.FlowsPerClient, c.Limits.NATFlows; per < 1 {
		k.say("limits.flows_per_client", checkRange(per, 1, maxNATFlows))
	} else if per > all {
		k.say("limits.flows_per_client", fmt.Sprintf("one client's %d flows are more than limits.nat_flows, which is %d for all clients; "+
			"lower it, or raise limits.nat_flows", per, all), "limits.nat_flows")
	}
	k.say("limits.ports_per_client", checkRange(c.Limits.PortsPerClient, 1, maxPortsPerClient))
	if n := c.Limits.QueueMemory; n < minQueue || n > maxQueue {
		k.say("limits.queue_memory", fmt.Sprintf("%v is out of range; write %v to %v", n, minQueue, maxQueue))
	}
	for i, f := range c.Kernel.Without {
		k.say(fmt.Sprintf("kernel.without[%d]", i), oneOf(f, features))
	}
	return k
}

// workers looks at how many there are to be.
func (k *checker) workers(c *Config) {
	tap := "lan.tap"
	if c.LAN.TAP == "" {
		tap = "wan.tap"
	}
	switch n := c.Workers; {
	case n < 0 || n > maxWorkers:
		k.say("workers", fmt.Sprintf("%d is out of range; write 1 to %d, or auto", n, maxWorkers))
	case n > 1 && (c.LAN.TAP != "" || c.WAN.TAP != ""):
		k.say("workers", fmt.Sprintf("a TAP device has one queue, so %s means one worker; write 1 or auto", tap), tap)
	}
}

// checkOff looks at a duration that may be 0, which switches it off.
func checkOff(d, least, most time.Duration) string {
	if d == 0 || d >= least && d <= most {
		return ""
	}
	return fmt.Sprintf("%s is out of range; write %s to %s, or 0 for never", FormatDuration(d), FormatDuration(least), FormatDuration(most))
}

func (c *Config) hostPorts(k *checker) {
	p := c.Host.Ports
	if p.All && len(p.List) > 0 {
		k.say("host.ports", "all and a list contradict each other; use one of them")
	}
	if len(p.List) > maxPortRanges {
		k.say("host.ports", fmt.Sprintf("%d entries are more than %d; join neighbours into ranges such as tcp/8000-8010", len(p.List), maxPortRanges))
		return
	}
	for i, r := range p.List {
		k.say(fmt.Sprintf("host.ports[%d]", i), r.check())
	}
}

// side looks at the port of one side.
func (k *checker) side(side, port, tap, where string) {
	switch {
	case tap == "":
		k.say(side+".interface", checkInterface(port, where), side+".tap")
	case port != "":
		k.say(side+".tap", fmt.Sprintf("%s.interface is set too, and a side has one port; remove one of them", side), side+".interface")
	default:
		k.say(side+".tap", checkTAP(tap))
	}
}

// samePort refuses one port on both sides.
func (k *checker) samePort(c *Config) {
	if c.LAN.Port() == "" || c.LAN.Port() != c.WAN.Port() {
		return
	}
	lan, wan := "lan.interface", "wan.interface"
	if c.LAN.Interface == "" {
		lan = "lan.tap"
	}
	if c.WAN.Interface == "" {
		wan = "wan.tap"
	}
	k.say(wan, fmt.Sprintf("%s is %s already; the two sides need two ports", c.WAN.Port(), lan), lan)
}

// checkTAP refuses names that the kernel refuses or takes for something else.
func checkTAP(name string) string {
	switch {
	case name == HostLink:
		return name + " is the box's own link to the clients; use another name, such as gwtap0"
	case name == "all", name == "default":
		return name + " stands for every interface in the kernel's settings; use another name, such as gwtap0"
	case name == "lo":
		return "lo is the loopback; use another name, such as gwtap0"
	case strings.Contains(name, "%"):
		return fmt.Sprintf("%q is a pattern to the kernel; write the name itself, such as gwtap0", name)
	}
	return checkInterface(name, "")
}

// checkInterface follows the kernel's dev_valid_name, and refuses the loopback.
func checkInterface(name, where string) string {
	odd := strings.IndexFunc(name, func(c rune) bool {
		return c == '/' || c == ':' || unicode.IsSpace(c) || !unicode.IsPrint(c)
	})
	switch {
	case name == "":
		return missing + "name the Ethernet port " + where
	case len(name) > maxInterface:
		return fmt.Sprintf("%q has %d characters; a port's name has at most %d (ip link lists them)", name, len(name), maxInterface)
	case odd >= 0 || name == "." || name == "..":
		return fmt.Sprintf("%q is not a port's name: it has no blank, slash or colon (ip link lists them)", name)
	case name == "lo":
		return "lo is the loopback; name the Ethernet port " + where
	}
	return ""
}

func checkRate(r Rate) string {
	if r == 0 || r >= minRate && r <= maxRate {
		return ""
	}
	return fmt.Sprintf("%v is out of range; write %v to %v, or 0 for unlimited", r, minRate, maxRate)
}

func checkRange(n, low, high int) string {
	if n >= low && n <= high {
		return ""
	}
	return fmt.Sprintf("%d is out of range; write %d to %d", n, low, high)
}

func checkDirectory(p string) string {
	switch reason := checkPath(p, Default().Store.Path); {
	case reason != "":
		return reason
	case path.Clean(p) == "/":
		return fmt.Sprintf("/ cannot be the store's own directory; write one such as %s", Default().Store.Path)
	}
	return ""
}

func checkListen(listen string) string {
	such := Default().Metrics.Listen
	a, err := netip.ParseAddrPort(listen)
	switch {
	case listen == "":
		return ""
	case err == nil && a.Port() == 0:
		return fmt.Sprintf("port 0 is none; write one such as %s", such)
	case err == nil && a.Addr().Zone() != "":
		return fmt.Sprintf("%q names an interface; write the address alone, such as %s", listen, such)
	case err == nil:
		return ""
	}
	if a, err := netip.ParseAddr(listen); err == nil {
		return fmt.Sprintf("%q has no port; write %s", listen, netip.AddrPortFrom(a, 9464))
	}
	if port, ok := strings.CutPrefix(listen, ":"); ok {
		return fmt.Sprintf("%q has no address; write 0.0.0.0:%s for all of the box's, or %s for the box alone", listen, port, such)
	}
	return fmt.Sprintf("%q is not an address and a port; write them such as %s, or \"\" to serve none", listen, such)
}

func checkSocket(p string) string {
	switch reason := checkPath(p, Default().API.Socket); {
	case reason != "":
		return reason
	case strings.HasSuffix(p, "/") || slices.Contains([]string{".", ".."}, path.Base(p)):
		return fmt.Sprintf("%q is a directory; write a file such as %s", p, Default().API.Socket)
	case len(p) > maxSocket:
		return fmt.Sprintf("the path has %d bytes; a Unix socket's has at most %d", len(p), maxSocket)
	}
	return ""
}

func checkPath(p, such string) string {
	switch {
	case p == "":
		return "empty; write an absolute path such as " + such
	case strings.ContainsFunc(p, unicode.IsControl):
		return fmt.Sprintf("%q has a control character; write a path such as %s", p, such)
	case !path.IsAbs(p):
		return fmt.Sprintf("%q is not an absolute path; write one such as %s", p, such)
	}
	return ""
}

func oneOf(value string, allowed []string) string {
	if slices.Contains(allowed, value) {
		return ""
	}
	if near := nearest(value, allowed); near != "" {
		return fmt.Sprintf("%q is not known; did you mean %s? (it can be %s)", value, near, strings.Join(allowed, ", "))
	}
	return fmt.Sprintf("%q is not known; it can be %s", value, strings.Join(allowed, ", "))
}

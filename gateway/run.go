package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"gatewayd/gateway/config"
)

// Paths that the command line starts from.
const (
	DefaultConfigPath = config.DefaultPath
	DefaultSocket     = "/run/gatewayd/gatewayd.sock"
)

// RunConfig is the service: it loads the config and serves until ctx ends.
// When both ports are open it prints one line to standard output; a service
// manager that wants to know is told how it is all along. Whatever comes from
// reload has the config read again, as POST /reload does; nil: nothing comes. The
// error is config.Errors, or says what is in the way; a child that dies is none.
func RunConfig(ctx context.Context, path string, reload <-chan os.Signal) error {
	var k *keeper
	cfg, err := config.Load(path)
	if err == nil {
		k, err = newKeeper(cfg)
	}
	if err != nil {
		refusals().hold(ctx, err, func() error {
			_, err := CheckConfig(path)
			return err
		})
		return err
	}
	defer k.release()
	k.path, k.file.File, k.signals = path, path, reload
	refusals().forget()
	for _, w := range cfg.Warnings() {
		k.log.Warn(w)
	}
	until, ended := context.WithCancel(ctx)
	defer ended()
	go func() {
		select {
		case <-k.announced:
			fmt.Fprintf(os.Stdout, "gatewayd: ready: lan %s %v, wan %s %v, api %s\n",
				cfg.LAN.Port(), cfg.LAN.Address, cfg.WAN.Port(), outside(cfg), cfg.API.Socket)
		case <-until.Done():
		}
	}()
	if systemdListens() {
		go k.report(until, watchdogTime())
	}
	k.begin()
	return k.run(ctx)
}

// CheckConfig says whether run would start with this config: the file itself
// and the ports it names. It changes nothing. The error is what run would end
// with; warnings are what is allowed but likely to surprise.
func CheckConfig(path string) (warnings []string, err error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	return cfg.Warnings(), checkSides(cfg)
}

// outside is where the gateway is on the WAN, in words.
func outside(cfg *config.Config) string {
	if cfg.Bridges() {
		return "bridged"
	}
	if cfg.WAN.ByDHCP() {
		return "by DHCP"
	}
	return words(cfg.WAN.Addresses.List)
}

// words is prefixes in words.
func words(all []netip.Prefix) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

// LiveKeys are the keys of the config that a reload changes while packets pass.
func LiveKeys() []string { return config.LiveKeys() }

// RestartKeys are the keys that a reload leaves as they are, and why.
func RestartKeys() (keep []string, why map[string]string) { return config.RestartKeys() }

// ParseRate reads a rate with its unit, such as "5 Mbit", in bits per second. The
// error says what would be right.
func ParseRate(text string) (int64, error) {
	r, err := config.ParseRate(text)
	return int64(r), err
}

// ParseSize reads a size with its unit, such as "100 MB", in bytes. The error says
// what would be right.
func ParseSize(text string) (int64, error) {
	s, err := config.ParseSize(text)
	return int64(s), err
}

// ParseDuration reads a duration with its unit, such as "2h" or "30d". The error
// says what would be right.
func ParseDuration(text string) (time.Duration, error) { return config.ParseDuration(text) }

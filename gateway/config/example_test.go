package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"gatewayd/gateway/config"
)

func ExampleParse() {
	_, err := config.Parse("gatewayd.yaml", []byte("lan: {interface: eth1}\nwan: {interface: eth0, address: 203.0.113.2/24, gatway: 203.0.113.1}\n"))
	fmt.Println(err)
	// Output:
	// gatewayd.yaml:2:49: wan.gatway: unknown key; did you mean gateway?
	//     2 | wan: {interface: eth0, address: 203.0.113.2/24, gatway: 203.0.113.1}
	//       |                                                 ^
}

func ExampleWAN() {
	w := config.WAN{Addresses: config.Addresses{List: []netip.Prefix{netip.MustParsePrefix("203.0.113.2/24"), netip.MustParsePrefix("203.0.113.3/24")}}}
	fmt.Println(w.Address(), w.Own())
	// Output: 203.0.113.2/24 [203.0.113.2 203.0.113.3]
}

func ExampleWAN_ByDHCP() {
	c, err := config.Parse("gatewayd.yaml", []byte("lan: {interface: eth1}\nwan: {interface: eth0, address: dhcp}\n"))
	fmt.Println(c.WAN.ByDHCP(), c.WAN.Address(), err)
	// Output: true invalid Prefix <nil>
}

func ExampleConfig_Check() {
	c := config.Default()
	c.LAN.Interface, c.WAN.Interface = "eth1", "eth0"
	c.WAN.Addresses.List, c.WAN.Gateway = []netip.Prefix{netip.MustParsePrefix("203.0.113.2/24")}, netip.MustParseAddr("203.0.113.1")
	fmt.Println(c.Check())
	c.Store.Checkpoint = time.Hour
	fmt.Println(c.Check())
	// Output:
	// <nil>
	// store.checkpoint: 1h is out of range; write 1s to 10m
}

func ExampleConfig_Adopt() {
	running, file := config.Default(), config.Default()
	file.Bandwidth.Total.Down, file.Limits.Clients = 100*config.Mbit, 100
	taken, stay := running.Adopt(&file)
	fmt.Println(taken, stay, running.Bandwidth.Total.Down, running.Limits.Clients)
	// Output:
	// [bandwidth.total.down] [limits.clients] 100 Mbit 4096
}

func ExampleLiveKeys() {
	fmt.Println(config.LiveKeys()[:2])
	// Output:
	// [wan.address wan.gateway]
}

func ExampleRestartKeys() {
	keys, why := config.RestartKeys()
	fmt.Println(len(keys)+len(config.LiveKeys()) > 30, why["limits.clients"])
	// Output:
	// true the memory is taken at the start
}

func ExampleConfig_Warnings() {
	c := config.Default()
	c.Host.Ports = config.Ports{List: []config.PortRange{{Protocol: "tcp", First: 80, Last: 80}}}
	fmt.Println(len(c.Warnings()), c.Host.Ports)
	// Output:
	// 0 [tcp/80]
}

func ExampleConfig_Bridges() {
	c, err := config.Parse("gatewayd.yaml", []byte("mode: bridge\nlan: {interface: eth1, address: 10.10.0.1/16}\nwan: {interface: eth0}\n"))
	fmt.Println(c.Bridges(), err)
	// Output:
	// true <nil>
}

func ExampleParseRate() {
	r, err := config.ParseRate("1.5 Mbit")
	fmt.Println(int64(r), "bits a second,", r.BytesPerSecond(), "bytes,", r, err)
	_, err = config.ParseRate("5")
	fmt.Println(err)
	// Output:
	// 1500000 bits a second, 187500 bytes, 1.5 Mbit <nil>
	// "5" is not a speed: its unit is missing; write 5 Mbit if that is meant
}

func ExampleParseSize() {
	s, err := config.ParseSize("1.5 GB")
	fmt.Println(int64(s), "bytes,", s, err)
	// Output:
	// 1500000000 bytes, 1.5 GB <nil>
}

func ExampleParseDuration() {
	d, err := config.ParseDuration("1d 12h")
	fmt.Println(d, config.FormatDuration(d), err)
	// Output:
	// 36h0m0s 1d12h <nil>
}

func ExampleLoad() {
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "gatewayd.yaml")
	os.WriteFile(path, []byte("lan: {interface: eth1, address: 10.10.0.1/16}\nwan: {tap: gwwan0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n"), 0o600)

	c, err := config.Load(path)
	fmt.Println(c.LAN.Port(), c.WAN.Port(), c.Sessions.ResumeOnRestart, err)
	_, err = config.Load(filepath.Join(dir, "none.yaml"))
	fmt.Println(errors.Is(err, fs.ErrNotExist), errors.As(err, new(config.Errors)))
	// Output:
	// eth1 gwwan0 true <nil>
	// true false
}

func ExamplePorts() {
	p := config.Ports{List: []config.PortRange{{Protocol: "tcp", First: 80, Last: 80}, {Protocol: "tcp", First: 8000, Last: 8010}}}
	fmt.Println(p, p.Open("tcp", 8005), p.Open("udp", 8005))
	// Output:
	// [tcp/80, tcp/8000-8010] true false
}

func ExampleKernel_Lacks() {
	c, err := config.Parse("gatewayd.yaml", []byte("lan: {interface: eth1}\nwan: {interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n"+
		"kernel: {without: [ring]}\n"))
	fmt.Println(c.Kernel.Lacks(config.Ring), c.Kernel.Lacks(config.TCX), err)
	// Output:
	// true false <nil>
}

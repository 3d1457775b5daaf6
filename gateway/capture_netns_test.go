//go:build netns

package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// capture starts the command and waits until the client is captured.
func (d *daemon) capture(key, file string, args ...string) *program {
	d.t.Helper()
	p := d.l.gateway.start(d.l.path(), append([]string{"capture", key, "-w", file, "--socket", d.l.dir + "/gatewayd.sock"}, args...)...)
	p.says("capturing " + key)
	return p
}

// over ends a capture by Ctrl-C and returns what it said.
func (p *program) over() string {
	p.t.Helper()
	check(p.t, p.cmd.Process.Signal(syscall.SIGINT))
	said := p.wait(soon)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(said, "it was ended") {
		p.t.Errorf("the capture ended with %d: %s", code, said)
	}
	return said
}

// copiedFrame is one of a capture, as tshark reads it.
type copiedFrame struct {
	side, src, dst, macSrc, kind string // src and dst are of IPv4 or IPv6
	length                       uint64 // of IP
	at                           float64
	icmp6, vlan                  string // its type; the VLAN's id
}

// expertError is what tshark calls an error among what it remarks; of TCP's ways it has many a
// lesser remark.
const expertError = "8388608"

// reads has tshark read a capture, which must find no fault with it, and no wrong
// checksum.
func reads(t *testing.T, file string) (all []copiedFrame) {
	t.Helper()
	// What iperf3 sends is nothing that tshark could know by the other port, which is any.
	cmd := exec.Command("tshark", "-n", "-r", file, "-d", "tcp.port==5201,data", "-d", "udp.port==5201,data", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
		"-T", "fields", "-E", "occurrence=f", "-e", "frame.interface_name", "-e", "ip.src", "-e", "ip.dst", "-e", "eth.src", "-e", "eth.type", "-e", "ip.len",
		"-e", "frame.time_epoch", "-e", "ip.checksum.status", "-e", "tcp.checksum.status", "-e", "udp.checksum.status", "-e", "icmp.checksum.status", "-e", "_ws.malformed",
		"-e", "_ws.expert.severity", "-e", "ipv6.src", "-e", "ipv6.dst", "-e", "ipv6.plen", "-e", "icmpv6.type", "-e", "vlan.id", "-e", "tcp.checksum")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	said := strings.TrimPrefix(strings.TrimSpace(errs.String()), `Running as user "root" and group "root". This could be dangerous.`)
	if err != nil || strings.TrimSpace(said) != "" {
		t.Fatalf("tshark: %v %s", err, said)
	}
	wrong := 0
	for _, line := range strings.Split(string(out), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 19 {
			continue // there is none
		}
		n, _ := strconv.ParseUint(f[5], 10, 32)
		if f[13] != "" && f[1] == "" {
			n, _ = strconv.ParseUint(f[15], 10, 32)
			n += 40
		}
		at, err := strconv.ParseFloat(f[6], 64)
		check(t, err)
		all = append(all, copiedFrame{f[0], f[1] + f[13], f[2] + f[14], f[3], f[4], n, at, f[16], f[17]})
		if f[8] == "0" && f[18] == "0xffff" { // as Linux writes 0 where it sums up without the port (CSUM_MANGLED_0)
			f[8] = ""
		}
		if slices.Contains(f[7:11], "0") || f[11] != "" || f[12] == expertError {
			if wrong++; wrong < 5 {
				t.Errorf("tshark finds fault with %q", line)
			}
		}
	}
	return all
}

// sum is how many bytes of IP the frames have for which is holds, and how many they are.
func sum(all []copiedFrame, is func(copiedFrame) bool) (bytes, frames uint64) {
	for _, f := range all {
		if is(f) {
			bytes += f.length
			frames++
		}
	}
	return bytes, frames
}

// What tshark reads is what was billed, to the byte, on either side of the translation.
func TestACaptureIsWhatWasBilled(t *testing.T) {
	for _, workers := range []string{"1", "2"} {
		t.Run(workers+" workers", func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "workers: "+workers)
			l.offloads(false)
			d := l.start()
			l.iperfServer()
			other := l.neighbour("02:00:00:00:00:0d", "10.10.0.3")
			v := d.sell(anHour)
			d.sellTo("02:00:00:00:00:0d", "10.10.0.3", anHour)
			d.must("POST", "/devices/02:00:00:00:00:0d/connect", "", nil)
			file := filepath.Join(l.dir, "a.pcapng")
			began := time.Now()
			p := d.capture(clientIP, file, "--size", "1GB")
			_, _ = l.client.try("ping", "-c", "3", "-i", "0.1", "-W", "1", serverIP) // without a session
			d.connect()
			other.run("ping", "-c", "3", "-i", "0.1", "-W", "5", serverIP)
			l.client.run("ping", "-c", "5", "-i", "0.1", "-W", "5", lanIP)
			for _, way := range []string{"-u -b 20M -l 1000 -t1", "-u -b 20M -l 3000 -t1 -R", "-t1 -b 30M", "-t1 -R -b 30M"} {
				l.iperf(strings.Fields(way)...)
			}
			l.settle()
			said := p.over()
			v = d.session(v.ID)
			if !strings.Contains(said, " 0 lost") {
				t.Fatal(said)
			}
			all := reads(t, file)
			st, err := os.Stat(file)
			if err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%v %v", st, err)
			}
			if !strings.Contains(said, fmt.Sprintf("%d packets captured", len(all))) {
				t.Errorf("tshark reads %d packets: %s", len(all), said)
			}
			for _, row := range []struct {
				what string
				want uint64
				is   func(copiedFrame) bool
			}{
				{"up, behind translation", v.UpBytes, func(f copiedFrame) bool { return f.side == "wan" && f.src == wanIP }},
				{"down, before translation back", v.DownBytes, func(f copiedFrame) bool { return f.side == "wan" && f.dst == wanIP }},
				{"up, before translation, with what was dropped", v.UpBytes + 3*84, func(f copiedFrame) bool { return f.side == "lan" && f.src == clientIP && f.dst != lanIP }},
				{"down, as it arrives", v.DownBytes, func(f copiedFrame) bool { return f.side == "lan" && f.dst == clientIP && f.src != lanIP }},
				{"pings to the box", 5 * 84, func(f copiedFrame) bool { return f.side == "lan" && f.dst == lanIP }},
				{"and back", 5 * 84, func(f copiedFrame) bool { return f.side == "lan" && f.src == lanIP }},
				{"inside addresses outside", 0, func(f copiedFrame) bool { return f.side == "wan" && (f.src == clientIP || f.dst == clientIP) }},
				{"of another client", 0, func(f copiedFrame) bool { return f.src == "10.10.0.3" || f.dst == "10.10.0.3" }},
			} {
				if got, frames := sum(all, row.is); got != row.want {
					t.Errorf("%s: %d bytes in %d frames, want %d", row.what, got, frames, row.want)
				}
			}
			if _, n := sum(all, func(f copiedFrame) bool { return f.side == "lan" && f.kind == "0x0806" }); n < 2 {
				t.Errorf("%d frames of ARP", n)
			}
			ended := float64(time.Now().UnixNano()) / 1e9
			late := 0.0
			for i, f := range all {
				if f.at < float64(began.UnixNano())/1e9-1 || f.at > ended+1 {
					t.Fatalf("a frame of %f, captured from %v on", f.at, began)
				}
				if i > 0 {
					late = math.Max(late, all[i-1].at-f.at)
				}
			}
			if late > 0.1 || workers == "1" && late > 0 {
				t.Errorf("a frame is %v s older than the one before it", late)
			}
			l.readByAll(file, len(all))
		})
	}
}

// readByAll has the other programs that people use read a capture.
func (l *lab) readByAll(file string, packets int) {
	l.t.Helper()
	for _, line := range [][]string{
		{"capinfos", "-c", "-M", "-T", "-r", file}, {"editcap", file, file + ".edited"}, {"mergecap", "-w", file + ".merged", file}, {"tcpdump", "-n", "-r", file, "-w", file + ".tcpdump"},
	} {
		out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
		if said := strings.ToLower(string(out)); err != nil || strings.Contains(said, "warning") || strings.Contains(said, "cut short") {
			l.t.Errorf("%v: %v %s", line, err, out)
		}
		if line[0] == "capinfos" && !strings.Contains(string(out), fmt.Sprint(packets)) {
			l.t.Errorf("capinfos does not count %d: %s", packets, out)
		}
	}
	for _, name := range []string{".edited", ".merged"} {
		if n := len(reads(l.t, file+name)); n != packets {
			l.t.Errorf("%s has %d packets of %d", name, n, packets)
		}
	}
}

// Super-packets, and checksums that are left to the cards, are as right as others.
func TestACaptureWithOffloads(t *testing.T) {
	inBothModes(t, func(t *testing.T, newLab makeLab) {
		t.Parallel()
		captureWithOffloads(newLab(t))
	})
}

func captureWithOffloads(l *lab) {
	t := l.t
	l.offloads(true)
	d := l.start()
	l.iperfServer()
	d.admit(anHour)
	file := filepath.Join(l.dir, "a.pcapng")
	p := d.capture(clientMAC, file, "--size", "1GB")
	for _, way := range []string{"-t1 -b 50M", "-t1 -R -b 50M", "-u -t1 -b 20M -l 8000", "-u -t1 -R -b 20M -l 1000"} {
		l.iperf(strings.Fields(way)...)
	}
	p.over()
	all := reads(t, file)
	if _, n := sum(all, func(f copiedFrame) bool { return f.length > 1500 }); len(all) < 1000 || n == 0 {
		t.Errorf("%d packets, %d of them long", len(all), n)
	}
	d.disconnect()
}

// tcpdump shows it live, and its end is the capture's.
func TestACaptureIsSeenLive(t *testing.T) {
	for outside, newLab := range map[string]makeLab{wanIP: newLab, clientIP: newBridge4} {
		t.Run("as "+outside+" outside", func(t *testing.T) {
			t.Parallel()
			captureIsSeenLive(newLab(t), outside)
		})
	}
}

// captureIsSeenLive has a client whose address on the WAN is outside.
func captureIsSeenLive(l *lab, outside string) {
	t := l.t
	d := l.start()
	d.admit(anHour)
	live := l.gateway.start("sh", "-c", fmt.Sprintf("%s capture %s -w - --socket %s/gatewayd.sock | tcpdump -l -n -r - -c 8 2>&1; echo pipe ended", l.path(), clientIP, l.dir))
	eventually(t, soon, "tcpdump shows pings of both sides", func() error {
		_, _ = l.client.try("ping", "-c", "1", "-W", "1", serverIP)
		said := live.out.String()
		if !strings.Contains(said, clientIP+" > "+serverIP) || !strings.Contains(said, outside+" > "+serverIP) {
			return errors.New(said)
		}
		return nil
	})
	for range 3 {
		_, _ = l.client.try("ping", "-c", "1", "-W", "1", serverIP)
	}
	if said := live.wait(soon); !strings.Contains(said, "pipe ended") || strings.Contains(said, "refused") || strings.Contains(strings.ToLower(said), "broken") {
		t.Errorf("%s", said)
	}
	d.nothingCaptured()
	d.disconnect()
}

// nothingCaptured waits until all four captures can be begun again.
func (d *daemon) nothingCaptured() {
	d.t.Helper()
	eventually(d.t, soon, "no capture is on", func() error {
		ctx, end := context.WithCancel(d.t.Context())
		defer end()
		for i := range 4 {
			r, err := http.NewRequestWithContext(ctx, "GET", "http://gatewayd/api/v1/devices/"+clientMAC+"/capture", nil)
			check(d.t, err)
			answer, err := (&http.Client{Transport: d.http.Transport}).Do(r)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return fmt.Errorf("capture %d: %d", i, answer.StatusCode)
			}
		}
		return nil
	})
}

// Processes die, and a fifth wants to see, too.
func TestACaptureOutlivesTheForwarder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	d.admit(anHour)
	l.client.run("ping", "-c", "1", "-W", "5", serverIP)
	file := filepath.Join(l.dir, "a.pcapng")
	p := d.capture(clientIP, file)
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "5", serverIP)
	pid := d.kill("forward")
	d.replaced("forward", pid)
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "5", serverIP)
	p.over()
	if _, n := sum(reads(t, file), func(f copiedFrame) bool { return f.side == "wan" && f.src == wanIP }); n < 4 {
		t.Errorf("%d pings left, of 4", n)
	}

	var all []*program
	for i := range 4 {
		all = append(all, d.capture(clientIP, fmt.Sprintf("%s.%d", file, i)))
	}
	out, err := l.gateway.try(l.path(), "capture", clientIP, "-w", file+".5", "--socket", l.dir+"/gatewayd.sock")
	if err == nil || !strings.Contains(err.Error(), "end one of them") {
		t.Errorf("a fifth: %v %s", err, out)
	}
	if _, err := os.Stat(file + ".5"); err == nil {
		t.Error("it has left a file")
	}
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "5", serverIP)
	eventually(t, soon, "all is written", func() error {
		for i := range all {
			if st, err := os.Stat(fmt.Sprintf("%s.%d", file, i)); err != nil || st.Size() < 1300 {
				return fmt.Errorf("capture %d: %d bytes %v", i, st.Size(), err)
			}
		}
		return nil
	})
	pid = d.kill("control")
	for i, p := range all {
		said := p.wait(soon)
		if code := p.cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(said, "broke off") {
			t.Errorf("capture %d ended with %d: %s", i, code, said)
		}
		if n := len(reads(t, fmt.Sprintf("%s.%d", file, i))); n < 8 {
			t.Errorf("capture %d: %d packets", i, n)
		}
	}
	d.replaced("control", pid)
	d.nothingCaptured()
	d.disconnect()
}

// A client that floods, with a reader that stands still, keeps nobody waiting.
func TestACapturedFlood(t *testing.T) {
	l := newLab(t)
	d := l.start()
	l.iperfServer()
	d.admit(anHour)
	r, err := d.http.Get("http://gatewayd/api/v1/devices/" + clientMAC + "/capture") // and is not read
	check(t, err)
	defer r.Body.Close()
	file := filepath.Join(l.dir, "a.pcapng")
	p := d.capture(clientIP, file, "--snaplen", "64", "--size", "400MB")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = l.client.try("iperf3", "-c", serverIP, "-u", "-b", "0", "-l", "64", "-t", "1")
	}()
	worst := time.Duration(0)
	for running := true; running; {
		began := time.Now()
		d.status()
		worst = max(worst, time.Since(began))
		select {
		case <-done:
			running = false
		default:
		}
	}
	figureOf(t, "slowest status beside a captured flood", worst)
	if worst > soon/3 {
		t.Errorf("a status took %v", worst)
	}
	said := p.over()
	all := reads(t, file)
	if len(all) < 1000 || !strings.Contains(said, fmt.Sprintf("%d packets captured", len(all))) {
		t.Errorf("%d packets: %s", len(all), said)
	}
	t.Log(said)
	d.disconnect()
}

// A disk that is full leaves a file that is whole, and says so.
func TestACaptureOnAFullDisk(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	l.iperfServer()
	d.admit(anHour)
	disk := filepath.Join(l.dir, "disk")
	check(t, os.Mkdir(disk, 0o700))
	check(t, syscall.Mount("gatewayd-test", disk, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	p := d.capture(clientIP, disk+"/a.pcapng")
	l.iperf("-u", "-b", "10M", "-t1")
	said := p.wait(soon)
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(said, "no space left on device") || !strings.Contains(said, "is whole") {
		t.Errorf("it ended with %d: %s", code, said)
	}
	if n := len(reads(t, disk+"/a.pcapng")); n < 10 {
		t.Errorf("%d packets", n)
	}
	d.nothingCaptured()
	d.disconnect()
}

// While one client is captured, another one's rate stays.
func TestACaptureCostsOthersLittle(t *testing.T) {
	l := newLab(t)
	d := l.start()
	d.sell(`{"type":"time","time_secs":3600,"down_mbits":50,"up_mbits":50}`)
	d.connect()
	const otherMAC, otherIP = "02:00:00:00:00:0d", "10.10.0.3"
	other := l.neighbour(otherMAC, otherIP)
	d.sellTo(otherMAC, otherIP, anHour)
	d.must("POST", "/devices/"+otherMAC+"/connect", "", nil)
	for _, port := range []string{"5201", "5202"} {
		l.server.start("iperf3", "-s", "-B", serverIP, "-p", port, "--forceflush").says("Server listening")
	}
	rate := func(n *namespace, port string, args ...string) float64 {
		var mbits float64
		eventually(t, soon, "iperf3 is served", func() error {
			out, err := n.try("iperf3", append([]string{"-c", serverIP, "-p", port, "-t", "1", "-f", "m"}, args...)...)
			if err != nil {
				return err
			}
			for _, line := range strings.Split(out, "\n") {
				if f := strings.Fields(line); strings.Contains(line, "receiver") && len(f) > 6 {
					mbits, err = strconv.ParseFloat(f[6], 64)
				}
			}
			return err
		})
		return mbits
	}
	for _, row := range []struct {
		name string
		args []string
	}{{"TCP flat out", nil}, {"TCP down flat out", []string{"-R"}}} {
		var without, with float64
		for i, captured := range []bool{false, true, true, false} { // so that neither is always later
			var p *program
			file := filepath.Join(l.dir, fmt.Sprintf("%d.pcapng", i))
			if captured {
				p = d.capture(clientIP, file, "--size", "1GB")
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = l.client.try("iperf3", "-c", serverIP, "-p", "5202", "-t", "2")
			}()
			got := rate(other, "5201", row.args...)
			<-done
			if p == nil {
				without += got / 2
				continue
			}
			with += got / 2
			t.Log(strings.TrimSpace(p.over()))
			check(t, os.Remove(file))
		}
		figure(t, row.name+" of another client beside a capture, of what it is without", with/without, "")
		t.Logf("%s: %v Mbit/s without, %v with", row.name, without, with)
		if with < without/5 {
			t.Errorf("%s falls from %v to %v Mbit/s", row.name, without, with)
		}
	}
	d.disconnect()
}

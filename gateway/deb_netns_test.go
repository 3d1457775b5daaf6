//go:build netns

package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"gatewayd/gateway/config"
)

// emulators run the packages' programs, by Debian's name of the architecture.
var emulators = map[string][]string{"amd64": nil, "arm64": {"qemu-aarch64"}, "armhf": {"qemu-arm"}}

// packaged is every file of the package, as dpkg-deb lists it; directories aside.
const packaged = `-rw-r--r-- root/root ./etc/gatewayd/gatewayd.yaml
-rwxr-xr-x root/root ./usr/bin/gatewayd
-rw-r--r-- root/root ./usr/lib/systemd/system/gatewayd.service
-rw-r--r-- root/root ./usr/share/bash-completion/completions/gatewayd
-rw-r--r-- root/root ./usr/share/doc/gatewayd/DESIGN.md
-rw-r--r-- root/root ./usr/share/doc/gatewayd/README.md
-rw-r--r-- root/root ./usr/share/doc/gatewayd/changelog.gz
-rw-r--r-- root/root ./usr/share/doc/gatewayd/copyright
-rw-r--r-- root/root ./usr/share/doc/gatewayd/licenses.gz
-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/gatewayd.fish
-rw-r--r-- root/root ./usr/share/gatewayd/alerts.yaml
-rw-r--r-- root/root ./usr/share/gatewayd/grafana-dashboard.json
-rw-r--r-- root/root ./usr/share/lintian/overrides/gatewayd
-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_gatewayd
`

// buildPackages runs the packages' build and returns their directory.
func buildPackages(t *testing.T, env []string, architectures ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("../deploy/deb/build", append([]string{dir}, architectures...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
	return dir
}

// tool runs a program on this machine to its good end and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s%s", cmd.Args, err, errs.String(), out)
	}
	return string(out)
}

// packageOf returns the one package of an architecture in a directory.
func packageOf(t *testing.T, dir, architecture string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(dir, "gatewayd_*_"+architecture+".deb"))
	if len(found) != 1 {
		t.Fatalf("%s has the packages %q of %s", dir, found, architecture)
	}
	return found[0]
}

func TestTheDebianPackages(t *testing.T) {
	t.Parallel()
	packages := buildPackages(t, nil)
	native := map[string]string{"amd64": "amd64", "arm64": "arm64", "arm": "armhf"}[runtime.GOARCH]
	version := strings.TrimSpace(tool(t, "dpkg-deb", "--field", packageOf(t, packages, native), "Version"))
	for architecture, emulator := range emulators {
		t.Run(architecture, func(t *testing.T) {
			if architecture == native {
				emulator = nil
			}
			testPackage(t, packageOf(t, packages, architecture), architecture, version, emulator)
		})
	}
	t.Run("are the same bytes whoever builds them", func(t *testing.T) {
		again := buildPackages(t, []string{"TZ=Pacific/Chatham", "LC_ALL=C.UTF-8", "TMPDIR=" + t.TempDir()}, native)
		one, err := os.ReadFile(packageOf(t, packages, native))
		check(t, err)
		other, err := os.ReadFile(packageOf(t, again, native))
		check(t, err)
		if !bytes.Equal(one, other) {
			t.Errorf("two builds of %s differ", version)
		}
	})
	first := packageOf(t, packages, native)
	successor(t, first, filepath.Join(packages, "successor.deb"))
	first = "/mnt/" + filepath.Base(first)
	t.Run("live without a service manager", func(t *testing.T) { testLife(t, newBox(t, packages), first, "/mnt/successor.deb") })
	t.Run("live under systemd", func(t *testing.T) { testService(t, newBootedBox(t, packages), first, "/mnt/successor.deb") })
}

// testPackage looks at one package from outside, and runs its program.
func testPackage(t *testing.T, file, architecture, version string, emulator []string) {
	for field, want := range map[string]string{
		"Package": "gatewayd", "Version": version, "Architecture": architecture, "Section": "net", "Priority": "optional",
		"Depends": "adduser", "Maintainer": "gatewayd authors <authors@gatewayd.invalid>",
	} {
		if got := strings.TrimSpace(tool(t, "dpkg-deb", "--field", file, field)); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	var files strings.Builder
	for line := range strings.Lines(tool(t, "dpkg-deb", "--contents", file)) {
		if f := strings.Fields(line); !strings.HasPrefix(line, "d") {
			files.WriteString(f[0] + " " + f[1] + " " + f[5] + "\n")
		} else if f[0] != "drwxr-xr-x" || f[1] != "root/root" {
			t.Errorf("a directory that others cannot read, or own: %s", line)
		}
	}
	if files.String() != packaged {
		t.Errorf("it holds\n%swant\n%s", files.String(), packaged)
	}
	root := t.TempDir()
	tool(t, "dpkg-deb", "--raw-extract", file, root)
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		tool(t, "sh", "-n", root+"/DEBIAN/"+script)
	}
	if got := tool(t, "cat", root+"/DEBIAN/conffiles"); got != "/etc/gatewayd/gatewayd.yaml\n" {
		t.Errorf("conffiles are %q", got)
	}
	tool(t, "sh", "-c", `cd "$0" && md5sum --quiet -c DEBIAN/md5sums`, root)
	line := append(emulator, root+"/usr/bin/gatewayd", "version")
	if got := tool(t, line[0], line[1:]...); got != "gatewayd "+version+"\n" {
		t.Errorf("the program says %q, want version %s", got, version)
	}
	testConffile(t, root+"/etc/gatewayd/gatewayd.yaml")
}

// commented is a line of the conffile that has to be filled in.
var commented = regexp.MustCompile(`(?m)^  # ((?:interface|address|gateway): .*# required)`)

// testConffile holds the package's config to the example, which it is once the #
// before what is required is taken away.
func testConffile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	check(t, err)
	if n := len(commented.FindAll(text, -1)); n != 4 {
		t.Errorf("%d lines are to be filled in, want 4:\n%s", n, text)
	}
	got, err := config.Parse(file, commented.ReplaceAll(text, []byte("  $1")))
	check(t, err)
	want, err := config.Parse("example.yaml", config.Example)
	check(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the config is %+v, the example %+v", got, want)
	}
}

// successor makes the next version of a package, with another config.
func successor(t *testing.T, file, to string) {
	t.Helper()
	tool(t, "sh", "-ec", `dpkg-deb --raw-extract "$0" "$2/next"
sed -i 's/^Version: .*/&+next/' "$2/next/DEBIAN/control"
echo '# What is new.' >>"$2/next/etc/gatewayd/gatewayd.yaml"
dpkg-deb --build -Zgzip -z1 "$2/next" "$1"`, file, to, t.TempDir())
}

// conffile is the config's path.
const conffile = "/etc/gatewayd/gatewayd.yaml"

// install installs or upgrades and returns what was said.
func (b *box) install(file string) string {
	b.t.Helper()
	return b.do("sh", "-c", `DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --install "$0" </dev/null 2>&1`, file)
}

// fillIn takes the # away before the config's required lines, whose values are the lab's.
func (b *box) fillIn() {
	b.t.Helper()
	b.do("sed", "-i", `s/^  # \(.*# required\)/  \1/`, conffile)
	b.do("gatewayd", "check")
}

// admit sells the client an hour and lets it in.
func (b *box) admit() {
	b.t.Helper()
	b.do("gatewayd", "devices", "add", "--mac", clientMAC, "--ip", clientIP)
	b.do("gatewayd", "sessions", "create", "--device", clientMAC, "--type", "time", "--time", "1h", "--global")
	b.do("gatewayd", "connect", clientMAC)
	b.passes()
}

// passes waits for a packet of the client to come back.
func (b *box) passes() {
	b.t.Helper()
	b.client.run("ping", "-c", "1", "-w", "30", serverIP)
}

// begin starts the installed program by hand, and waits until it is ready.
func (b *box) begin() *program {
	b.t.Helper()
	d := b.gateway.start("nsenter", b.inside("gatewayd", "run")...)
	eventually(b.t, 4*soon, "the installed gatewayd is ready", func() error {
		if said := d.out.String(); !strings.Contains(said, "gatewayd: ready") {
			return errors.New(said)
		}
		return nil
	})
	return d
}

// purge removes all, and looks for what is left.
func (b *box) purge() {
	b.t.Helper()
	b.do("dpkg", "--purge", "gatewayd")
	b.fails("id", "gatewayd")
	left := b.do("find", "/etc", "/run", "/usr", "/var", "-path", "/var/log", "-prune", "-o", "-name", "*gatewayd*", "-print")
	if left != "" {
		b.t.Errorf("left behind: %s", left)
	}
}

// says checks that a program said all of this.
func says(t *testing.T, said string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
	}
}

// testLife lives through a package's life where no service manager runs, as
// while an image is built.
func testLife(t *testing.T, b *box, first, next string) {
	says(t, b.install(first),
		fmt.Sprintf("%s:%d:3: lan.interface: missing; take the # away and name the Ethernet port", conffile, lineOf("  interface: ")), "wan.interface: missing", "wan.address: missing",
		"wan.gateway: missing", "installed and not started: fill in the lines named above in "+conffile+", then: gatewayd check && systemctl start gatewayd")
	b.do("test", "-L", "/etc/systemd/system/multi-user.target.wants/gatewayd.service")
	says(t, b.fails("gatewayd", "run"), "lan.interface: missing")
	b.fillIn()
	d := b.begin()
	b.admit()
	uid := strings.TrimSpace(b.do("id", "-u", "gatewayd"))
	if owner := strings.TrimSpace(b.do("stat", "-c", "%u", "/var/lib/gatewayd")); owner != uid {
		t.Errorf("the store is of user %s; the package's user is %s", owner, uid)
	}
	before := b.do("cat", conffile)
	b.install(next)
	if now := b.do("cat", conffile); now != before {
		t.Errorf("the upgrade changed the config to %s", now)
	}
	if news := b.do("cat", conffile+".dpkg-dist"); !strings.HasSuffix(news, "# What is new.\n") {
		t.Errorf("the new config is not beside the old: %s", news)
	}
	d.end()
	d = b.begin()
	b.passes() // what was sold goes on
	d.end()
	b.do("dpkg", "--remove", "gatewayd")
	b.do("test", "-e", conffile, "-a", "-d", "/var/lib/gatewayd")
	b.fails("test", "-e", "/usr/bin/gatewayd")
	b.purge()
	for _, pid := range b.processes() {
		t.Errorf("process %d is left", pid)
	}
}

// lineOf is the number of the first line of the example that begins so.
func lineOf(begin string) int {
	before, _, _ := strings.Cut(string(config.Example), "\n"+begin)
	return 2 + strings.Count(before, "\n")
}

// property is what systemd says of the service.
func (b *box) property(name string) string {
	b.t.Helper()
	return strings.TrimSpace(b.do("systemctl", "show", "--value", "--property="+name, "gatewayd"))
}

// serves checks what the service does, and returns its first process.
func (b *box) serves(state string) (pid string) {
	b.t.Helper()
	if now := b.property("ActiveState"); now != state {
		b.t.Fatalf("the service is %s, want %s", now, state)
	}
	return b.property("MainPID")
}

// testService lives through a package's life as a service.
func testService(t *testing.T, b *box, first, next string) {
	says(t, b.install(first), "installed and not started")
	b.serves("inactive")
	if state := b.property("UnitFileState"); state != "enabled" {
		t.Errorf("the service is %s", state)
	}
	b.fillIn()
	b.do("systemctl", "start", "gatewayd")
	pid := b.serves("active")
	b.admit()

	b.install(next)
	now := b.serves("active")
	if now == pid {
		t.Error("the upgrade did not start the service anew")
	}
	b.passes() // what was sold goes on
	before := b.do("cat", conffile)
	b.do("sh", "-c", `echo "what: is this" >>"$0"`, conffile)
	says(t, b.install(first), "what: unknown key", "the version before runs on, as this one refuses "+conffile)
	if pid = b.serves("active"); pid != now {
		t.Error("an upgrade that refuses the config started the service anew")
	}
	b.passes()

	b.do("sh", "-c", `printf %s "$1" >"$0"`, conffile, before)
	b.do("systemctl", "stop", "gatewayd")
	b.do("systemctl", "disable", "gatewayd")
	says(t, b.install(next), "installed and not running; start it with: systemctl start gatewayd")
	b.serves("inactive")
	if state := b.property("UnitFileState"); state != "disabled" {
		t.Errorf("after the upgrade of a service that was disabled it is %s", state)
	}
	b.do("systemctl", "start", "gatewayd")
	b.do("dpkg", "--remove", "gatewayd")
	if _, err := b.try("pidof", "gatewayd"); err == nil {
		t.Error("the removal did not stop the service")
	}
	b.purge()

	b.do("sh", "-c", `mkdir /etc/gatewayd && printf %s "$1" >"$0"`, conffile, before)
	b.install(first)
	b.serves("active") // a config was there, and it is good
	b.do("gatewayd", "status")
	b.do("dpkg", "--purge", "gatewayd")
	b.do("rm", "-rf", "/etc/gatewayd") // dpkg-dist
}

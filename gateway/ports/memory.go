package ports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// memory is what has to be put back on a port, as it was before the first Open.
// It is kept in a file, because whoever opened the port may be killed.
type memory struct {
	Boot        string `json:"boot"`         // kernel's boot id
	Index       int    `json:"index"`        // interface index
	DisableIPv6 string `json:"disable_ipv6"` // "" if there has been no IPv6 so far
	Clsact      bool   `json:"clsact"`       // the clsact qdisc is ours

	file string
	ipv6 *os.File // disable_ipv6 of what was turned off: reading it fails once the kernel has made that anew
}

// recall returns what an earlier run on the same interface left to be put back,
// or else what is there now. A file of an earlier boot or of another interface
// of the same name says nothing about this one.
func recall(dir, name string, index int) (*memory, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read the boot id: %w", err)
	}
	now := memory{
		Boot:  strings.TrimSpace(string(boot)),
		Index: index,
		file:  filepath.Join(dir, "port-"+name+".json"),
	}
	if b, err := os.ReadFile(now.file); err == nil {
		old := memory{}
		if json.Unmarshal(b, &old) == nil && old.Boot == now.Boot && old.Index == now.Index {
			old.file = now.file
			return &old, nil
		}
	}
	now.DisableIPv6, err = readSysctl("ipv6", name, "disable_ipv6")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return &now, nil
}

// keep writes the file, whole or not at all.
func (m *memory) keep() error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.file), 0o755); err != nil {
		return fmt.Errorf("keep what to put back: %w", err)
	}
	fresh := m.file + ".new"
	if err := os.WriteFile(fresh, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("keep what to put back: %w", err)
	}
	if err := os.Rename(fresh, m.file); err != nil {
		return fmt.Errorf("keep what to put back: %w", err)
	}
	return nil
}

// forget removes the file.
func (m *memory) forget() error {
	if err := os.Remove(m.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget what was put back: %w", err)
	}
	return nil
}

// silenceIPv6 turns IPv6 off on the port, if it is not. The kernel has none on an
// interface whose MTU is under 1,280, and a new one, which is on, once it is not any more.
func (m *memory) silenceIPv6(name string) error {
	f, err := os.OpenFile(sysctlPath("ipv6", name, "disable_ipv6"), os.O_RDWR, 0)
	if err == nil {
		if err = m.silence(f); err != nil {
			_ = f.Close() // nothing was written to it, or that failed
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("turn IPv6 off on %s: %w", name, err)
	}
	m.letGo()
	m.ipv6 = f
	return nil
}

// silence is silenceIPv6 of the open sysctl.
func (m *memory) silence(f *os.File) error {
	b := make([]byte, 16)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	now := strings.TrimSpace(string(b[:n]))
	if m.DisableIPv6 == "" {
		m.DisableIPv6 = now
		if err := m.keep(); err != nil {
			return err
		}
	}
	if now == "1" {
		return nil
	}
	_, err = f.WriteString("1")
	return err
}

// newIPv6 says whether the kernel's IPv6 on the port is another than the one that was
// turned off, or none was. What somebody has turned on again is the same.
func (m *memory) newIPv6() bool {
	if m.ipv6 == nil {
		return true
	}
	_, err := m.ipv6.ReadAt(make([]byte, 1), 0)
	return err != nil
}

func (m *memory) letGo() {
	if m.ipv6 != nil {
		_ = m.ipv6.Close() // it was read and written
		m.ipv6 = nil
	}
}

// restoreIPv6 puts the sysctl back, if the interface still exists; what is
// remembered of it says nothing about another one of its name.
func (m *memory) restoreIPv6(name string) error {
	m.letGo()
	if m.DisableIPv6 == "" {
		return nil
	}
	if l, err := netlink.LinkByName(name); err == nil && l.Attrs().Index != m.Index {
		return nil
	}
	err := writeSysctl("ipv6", name, "disable_ipv6", m.DisableIPv6)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

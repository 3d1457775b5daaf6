package ports

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sysctlPath is the file of net.FAMILY.conf.NAME.KEY. /proc/sys/net shows the
// network namespace of the thread that opens a file in it.
func sysctlPath(family, name, key string) string {
	return filepath.Join("/proc/sys/net", family, "conf", name, key)
}

// readSysctl returns the value without its newline. The error wraps
// os.ErrNotExist when the kernel has no such family or interface.
func readSysctl(family, name, key string) (string, error) {
	b, err := os.ReadFile(sysctlPath(family, name, key))
	if err != nil {
		return "", fmt.Errorf("read net.%s.conf.%s.%s: %w", family, name, key, err)
	}
	return strings.TrimSpace(string(b)), nil
}

func writeSysctl(family, name, key, value string) error {
	// Not O_CREATE, which procfs refuses with a misleading error.
	f, err := os.OpenFile(sysctlPath(family, name, key), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("set net.%s.conf.%s.%s: %w", family, name, key, err)
	}
	_, err = f.WriteString(value)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("set net.%s.conf.%s.%s to %s: %w", family, name, key, value, err)
	}
	return nil
}

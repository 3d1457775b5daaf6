package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// maxFile is the size of the largest file that is read, in bytes.
const maxFile = 1 << 20

// Load reads and checks the file at path. Its error is Errors when the file
// could be read but is not right.
func Load(path string) (*Config, error) {
	text, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w; %s", err, remedy(err))
	}
	return Parse(path, text)
}

// remedy is what to do about a file that could not be read.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("write that file (%s are all it needs), or name another with --config", required)
	case errors.Is(err, fs.ErrPermission):
		return "give it to whoever runs gatewayd to read, such as by chown and chmod 600"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("whoever holds that pipe has not closed it within %v; write a plain file", readTime)
	}
	return "write a plain file there, or name another with --config"
}

// readTime is how long whoever writes a config to a pipe may take.
const readTime = 5 * time.Second

func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to is empty
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_ = f.SetReadDeadline(time.Now().Add(readTime)) // a file has none and needs none
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Parse checks the text of a config file; name stands for the file in errors.
// Its error is always Errors.
func Parse(name string, text []byte) (*Config, error) {
	clean, errs := cleanText(text)
	r := newReader(string(clean))
	r.errs = errs
	if len(errs) == 0 {
		if root := r.parse(); root != nil {
			r.section("", place{line: 1, column: 1}, root)
			r.check()
		}
	}
	if len(r.errs) == 0 {
		return &r.config, nil
	}
	r.errs.locate(name, r.lines)
	return nil, r.errs
}

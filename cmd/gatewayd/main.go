package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"gatewayd/gateway"
)

// Exit codes.
const (
	exitDone        = 0
	exitRefused     = 1
	exitMisuse      = 2
	exitUnreachable = 3
)

func main() {
	gateway.Child()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var f *failure
	if !errors.As(err, &f) { // what cobra itself refuses is misuse
		f = &failure{exitMisuse, err}
	}
	fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), strings.TrimSpace(f.Error()))
	if f.code == exitMisuse {
		fmt.Fprintf(stderr, "usage: %s\nhelp:  %s --help\n", cmd.UseLine(), cmd.CommandPath())
	}
	return f.code
}

// failure is an error with the exit code that tells its kind.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// refused makes err the reason of exit code 1; nil stays nil.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return &failure{exitRefused, err}
}

package main

import (
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/gateway/api/client"
)

const answerTime = 25 * time.Second // longer than the daemon lets a call take

func daemonAt(opt *options) *client.Client { return client.New(opt.socket, answerTime) }

// failed gives an error of the client its exit code; nil stays nil.
func failed(err error) error {
	var none *client.Unreachable
	if errors.As(err, &none) {
		return &failure{exitUnreachable, err}
	}
	return refused(err)
}

// answer makes one call and prints it: unchanged with --json, else by show,
// which gets the answer decoded.
func answer[T any](cmd *cobra.Command, opt *options, method, path string, in any, show func(w io.Writer, out T)) error {
	daemon := daemonAt(opt)
	text, err := daemon.Call(cmd.Context(), method, path, in)
	if opt.json {
		cmd.OutOrStdout().Write(text)
	}
	if err != nil || opt.json {
		return failed(err)
	}
	var out T
	if err := daemon.Decode(text, &out); err != nil {
		return refused(err)
	}
	show(cmd.OutOrStdout(), out)
	return nil
}

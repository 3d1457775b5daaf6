package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"gatewayd/gateway"
	"gatewayd/gateway/api/client"
)

func newBackup(opt *options) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Save all devices and sessions to a file, while the daemon runs",
		Long: "Save everything, as of one moment, to FILE: devices, sessions, and what they have used so far.\n" +
			"The daemon goes on meanwhile. FILE appears, or is replaced, only when it is\n" +
			"whole and was read back; it is for its owner's eyes only, and of the version that restore reads.",
		Args: takes("FILE"), DisableFlagsInUseLine: true,
		Example: "  gatewayd backup /var/backups/gatewayd.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := backup(cmd.Context(), daemonAt(opt), args[0])
			if err == nil && !opt.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%d records are in %s; gatewayd restore %s puts them back\n", info.Records, args[0], args[0])
			}
			return err
		},
	}
}

func newRestore(opt *options) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in the place of all devices and sessions",
		Long: "Put a backup in the place of all devices and sessions. All of FILE is checked first: one that is cut,\n" +
			"changed or of another version is refused, and nothing is changed. Then every client is disconnected, and\n" +
			"everything is as it was when the backup was made: what was sold or used since is gone. A client whose\n" +
			"session ran then goes on with its next packet, unless the config says sessions.resume_on_restart: false.\n" +
			"Make a backup of what is there now before.",
		Args: takes("FILE"), DisableFlagsInUseLine: true,
		Example: "  gatewayd backup before.backup && gatewayd restore /var/backups/gatewayd.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := restore(cmd.Context(), daemonAt(opt), args[0])
			if err == nil && !opt.json {
				fmt.Fprintf(cmd.OutOrStdout(), "restored: %d records of %s\n", info.Records, info.Made.Format("2006-01-02 15:04:05"))
			}
			return err
		},
	}
}

// backup saves the daemon's backup at path: beside it first, and under its name when
// it is whole and on the disk. A link is followed; what is no file, such as a device,
// is never replaced.
func backup(ctx context.Context, daemon *client.Client, path string) (info gateway.BackupInfo, err error) {
	if st, err := os.Stat(path); err == nil {
		if !st.Mode().IsRegular() {
			return info, refused(fmt.Errorf("%s is not a file: name one that gatewayd may make or replace", path))
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return info, refused(err)
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".partial-")
	if err != nil {
		return info, refused(err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	answer, err := daemon.Stream(ctx, http.MethodGet, "/backup", nil)
	if err != nil {
		return info, failed(err)
	}
	defer answer.Close()
	if _, err := io.Copy(f, answer); err != nil {
		return info, refused(fmt.Errorf("no backup was made: %w; is there room, and does the daemon run? see gatewayd status", err))
	}
	if err := f.Sync(); err != nil {
		return info, refused(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return info, refused(err)
	}
	if info, err = gateway.ReadBackup(f); err != nil {
		return info, refused(fmt.Errorf("no backup was made: read back: %w; try again", err))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return info, refused(err)
	}
	return info, refused(syncDirectory(filepath.Dir(path)))
}

// restore checks the file at path whole, then sends it.
func restore(ctx context.Context, daemon *client.Client, path string) (info gateway.BackupInfo, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to would hold it
	if err != nil {
		return info, refused(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return info, refused(fmt.Errorf("%s is not a file: nothing was changed, name one that gatewayd backup wrote", path))
	}
	if info, err = gateway.ReadBackup(f); err != nil {
		return info, refused(fmt.Errorf("%s: %w; nothing was changed, take another file that gatewayd backup wrote", path, err))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return info, refused(err)
	}
	answer, err := daemon.Stream(ctx, http.MethodPost, "/restore", f)
	if err != nil {
		return info, failed(err)
	}
	return info, refused(answer.Close())
}

func syncDirectory(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

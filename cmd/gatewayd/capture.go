package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"gatewayd/gateway"
	"gatewayd/gateway/api/client"
)

// Bounds of a capture into a file, unless others are given. What is shown live has none.
const (
	captureSize = 100e6 // bytes
	captureTime = time.Hour
	endTime     = 3 * time.Second       // for what is under way after Ctrl-C
	readerEvery = 50 * time.Millisecond // a named pipe is looked at for its reader
)

// captureFlags are those of the command.
type captureFlags struct {
	file       string
	force      bool
	snaplen    uint32
	size, time string
}

func newCapture(opt *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "capture D [-w FILE] [--snaplen BYTES] [--size SIZE] [--for TIME] [--force]", Short: "Copy a client's packets before and after translation, as pcapng",
		Long: "Copy a client's packets as pcapng, to FILE or, with -, to standard output, for tcpdump, tshark or Wireshark, until\n" +
			"Ctrl-C. On the interface lan they are as the client sends and gets them, on wan as they are behind the\n" +
			"translation, or on a bridge as they are on that side. What was dropped is there as it came, and not as it would\n" +
			"have left; what waits for its rate leaves later. TCP and UDP may show several packets as one, as tcpdump shows them on the ports.\n\n" +
			"A file is made for its owner alone (0600); one that exists is replaced with --force only. Into a file it ends after\n" +
			"100 MB or an hour, unless --size or --for say otherwise; none is no bound, which is what a pipe has. Packets that\n" +
			"are read too slowly are lost to the capture, and counted; the client's own packets never wait. Four captures\n" +
			"may be on at once. Without a forwarder nothing is copied; once it is back, the capture goes on. If the daemon\n" +
			"goes away, it ends with code 3, and the file is whole as far as it got.",
		Example: "  gatewayd capture 10.10.0.2 -w client.pcapng\n  gatewayd capture 10.10.0.2 -w - | tcpdump -n -r -\n" +
			"  gatewayd capture 10.10.0.2 -w - | wireshark -k -i -\n  gatewayd capture 02:00:00:00:00:0c -w - --snaplen 128 | tshark -r - -Y 'frame.interface_name == \"wan\"'",
		Args: takes("D"), DisableFlagsInUseLine: true,
	}
	var f captureFlags
	cmd.Flags().StringVarP(&f.file, "write", "w", "", "write to this `FILE`; - is standard output")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace FILE if it exists")
	cmd.Flags().Uint32Var(&f.snaplen, "snaplen", 0, "copy so many `BYTES` of each packet, from its Ethernet header on; 0: all")
	cmd.Flags().StringVar(&f.size, "size", "", "end with so much data, a `SIZE` such as 20MB, or none (default 100MB into a file)")
	cmd.Flags().StringVar(&f.time, "for", "", "end after this `TIME`, such as 10m, or none (default 1h into a file)")
	cmd.MarkFlagFilename("write")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out, err := f.open(cmd.Context(), cmd.OutOrStdout())
		if err != nil {
			return err
		}
		query, err := f.query(out.file)
		if err != nil {
			out.giveUp()
			return err
		}
		path := devicePath(args[0]) + "/capture?" + query.Encode()
		s, err := daemonAt(opt).Capture(context.WithoutCancel(cmd.Context()), path)
		if err != nil {
			out.giveUp()
			return failed(err)
		}
		defer s.Close()
		if err := out.empty(); err != nil {
			return err
		}
		if out.file && !opt.json {
			fmt.Fprintf(cmd.ErrOrStderr(), "capturing %s into %s; Ctrl-C ends it\n", args[0], out.name)
		}
		return out.record(cmd, opt, s)
	}
	return cmd
}

// query is what the daemon is asked for; file says that it fills a disk.
func (f *captureFlags) query(file bool) (url.Values, error) {
	query := url.Values{}
	size, most := int64(0), time.Duration(0)
	if file {
		size, most = captureSize, captureTime
	}
	var err error
	switch f.size {
	case "":
	case "none":
		size = 0
	default:
		if size, err = gateway.ParseSize(f.size); err == nil && size != 0 && size < 4096 {
			err = fmt.Errorf("%q is too little for a capture: write at least 4 KiB", f.size)
		}
		if err != nil {
			return nil, fmt.Errorf("--size: %w", err)
		}
	}
	switch f.time {
	case "":
	case "none":
		most = 0
	default:
		if most, err = gateway.ParseDuration(f.time); err == nil && most != 0 && (most < time.Second || most%time.Second != 0) {
			err = fmt.Errorf("%q is no time of a capture: write whole seconds, at least 1, such as 10m", f.time)
		}
		if err != nil {
			return nil, fmt.Errorf("--for: %w", err)
		}
	}
	if f.snaplen != 0 {
		if f.snaplen < 14 || f.snaplen > 262144 {
			return nil, fmt.Errorf("--snaplen: %d: want 14 to 262144 bytes, or 0 for all", f.snaplen)
		}
		query.Set("snaplen", strconv.FormatUint(uint64(f.snaplen), 10))
	}
	if size > 0 {
		query.Set("size", strconv.FormatInt(size, 10))
	}
	if most > 0 {
		query.Set("for", strconv.FormatInt(int64(most/time.Second), 10))
	}
	return query, nil
}

// captureOutput is where a capture goes.
type captureOutput struct {
	to   io.Writer
	name string
	file bool     // it fills a disk
	made *os.File // that open has opened; nil: it was open
	new  bool     // and made
}

// open opens what the capture is written to. Whoever would fill a terminal is told
// better ways.
func (f *captureFlags) open(ctx context.Context, stdout io.Writer) (o captureOutput, err error) {
	if f.file == "" || f.file == "-" {
		o = captureOutput{to: stdout, name: "standard output"}
		if out, ok := stdout.(*os.File); ok {
			if term.IsTerminal(int(out.Fd())) {
				return o, errors.New("a capture is no text for a terminal: write it to a file with -w FILE, or show it with -w - | tcpdump -n -r -")
			}
			st, err := out.Stat()
			o.file = err == nil && st.Mode().IsRegular()
		}
		return o, nil
	}
	o = captureOutput{name: f.file}
	st, err := os.Stat(f.file)
	switch {
	case err == nil && st.Mode()&os.ModeNamedPipe != 0:
		o.made, err = openPipe(ctx, f.file)
	case err == nil && !st.Mode().IsRegular(): // a device; nothing in it is lost
		o.made, err = os.OpenFile(f.file, os.O_WRONLY, 0)
	case err == nil && !f.force:
		return o, refused(fmt.Errorf("%s exists: name another file, or replace it with --force", f.file))
	case err == nil:
		o.made, err = os.OpenFile(f.file, os.O_WRONLY, 0)
		o.file = true
	default:
		o.made, err = os.OpenFile(f.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		o.file, o.new = true, true
	}
	if err != nil {
		return o, refused(err)
	}
	o.to = o.made
	return o, nil
}

// openPipe opens a named pipe once it has a reader, unless ctx ends before.
func openPipe(ctx context.Context, name string) (*os.File, error) {
	for {
		pipe, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if !errors.Is(err, syscall.ENXIO) {
			return pipe, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("nobody has opened %s to read it: start the reader, such as tcpdump -n -r %s", name, name)
		case <-time.After(readerEvery):
		}
	}
}

// empty takes away what is in a file that is replaced, now that there is a capture.
func (o *captureOutput) empty() error {
	if !o.file || o.made == nil || o.new {
		return nil
	}
	if err := errors.Join(o.made.Chmod(0o600), o.made.Truncate(0)); err != nil {
		return refused(fmt.Errorf("replace %s: %w", o.name, err))
	}
	return nil
}

// giveUp leaves nothing of a capture that did not begin, and a file that it would have
// replaced as it was.
func (o *captureOutput) giveUp() {
	if o.made != nil {
		o.made.Close()
	}
	if o.new {
		os.Remove(o.name)
	}
}

// record writes the capture block by block, so that what was written is whole, however it
// ends.
func (o *captureOutput) record(cmd *cobra.Command, opt *options, s *client.Capture) error {
	signal.Ignore(syscall.SIGPIPE) // a write says so
	over, stop := context.WithCancel(cmd.Context())
	defer stop()
	defer context.AfterFunc(over, func() {
		_ = s.End()
		time.AfterFunc(endTime, func() {
			s.Close()
			if o.made != nil && !o.file {
				o.made.Close() // a pipe whose reader stands still
			}
		})
	})()
	if out, ok := o.to.(*os.File); ok && !o.file {
		go awaitReader(over, out, stop)
	}
	packets := 0
	out := bufio.NewWriterSize(o.to, 1<<18)
	for {
		kind, block, err := s.Next()
		if err == nil {
			_, err := out.Write(block)
			if err == nil && s.Live() {
				err = out.Flush()
			}
			if err != nil {
				return o.unwritten(err)
			}
			if kind == client.PacketBlock {
				packets++
			}
			continue
		}
		if err := o.close(out); err != nil {
			return o.unwritten(err)
		}
		why, lost := s.Said()
		if err != io.EOF && over.Err() == nil {
			return failed(fmt.Errorf("the capture broke off after %d packets, %s is whole as far as that: %w", packets, o.name, err))
		}
		if err != io.EOF {
			why, lost = "it was ended", "an unknown number"
		}
		if !opt.json {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d packets captured, %s lost because they were written too slowly; it ended: %s\n", packets, lost, why)
		}
		return nil
	}
}

// close has all written.
func (o *captureOutput) close(out *bufio.Writer) error {
	err := out.Flush()
	if o.made != nil {
		err = errors.Join(err, o.made.Close())
	}
	return err
}

// unwritten says what became of a capture that could not be written; who only stopped to
// read has seen what it wanted.
func (o *captureOutput) unwritten(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	if errors.Is(err, os.ErrClosed) {
		return refused(fmt.Errorf("write the capture: whoever reads %s has stood still for %v since it was to end; packets are missing at its end", o.name, endTime))
	}
	if o.made == nil || !o.file {
		return refused(fmt.Errorf("write the capture: %w", err))
	}
	whole, e := wholeBlocks(o.name)
	if e == nil {
		e = os.Truncate(o.name, whole)
	}
	if e != nil {
		return refused(fmt.Errorf("write the capture: %w; and the end of the file is not whole: %w", err, e))
	}
	return refused(fmt.Errorf("write the capture: %w; what is in the file, %s, is whole: make room, or bound it with --size", err, humanBytes(uint64(whole))))
}

// wholeBlocks is how many bytes of a pcapng file are whole blocks.
func wholeBlocks(name string) (whole int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	for err == nil {
		var head [8]byte // type and length
		if _, err = f.ReadAt(head[:], whole); err != nil {
			break
		}
		next := whole + int64(binary.LittleEndian.Uint32(head[4:]))
		if next <= whole || next > st.Size() {
			break
		}
		whole = next
	}
	if err == io.EOF {
		err = nil
	}
	return whole, err
}

// awaitReader calls gone when nobody reads a pipe any more, of which a write would tell
// only with the next packet. It looks until ctx ends.
func awaitReader(ctx context.Context, pipe *os.File, gone func()) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	look := -1 // of its own: while one in use is looked at, it cannot be closed
	if err := raw.Control(func(fd uintptr) { look, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || look < 0 {
		return
	}
	defer unix.Close(look)
	list := []unix.PollFd{{Fd: int32(look)}}
	for ctx.Err() == nil {
		n, err := unix.Poll(list, int(readerEvery/time.Millisecond))
		if n > 0 {
			gone()
		}
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// patience is how long a program may take to end after it was asked to.
const patience = 5 * time.Second

// command is a program in a namespace, in a process group of its own: a Ctrl-C
// in the terminal ends this program, which ends the others in order.
func command(ctx context.Context, namespace, name string, args ...string) *exec.Cmd {
	if namespace != "" {
		args = append([]string{"netns", "exec", namespace, name}, args...)
		name = "ip"
	}
	c := exec.CommandContext(ctx, name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.WaitDelay = patience
	return c
}

// run runs a program in a namespace to its end and returns what it printed. An
// empty namespace is the caller's own.
func run(ctx context.Context, namespace, name string, args ...string) ([]byte, error) {
	c := command(ctx, namespace, name, args...)
	var out, problem bytes.Buffer
	c.Stdout, c.Stderr = &out, &problem
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return out.Bytes(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, lastLine(problem.String()))
	}
	return out.Bytes(), nil
}

// feed runs a program like run, with text to read.
func feed(ctx context.Context, namespace, text, name string, args ...string) error {
	c := command(ctx, namespace, name, args...)
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// A process is a program that runs until it is ended.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  *os.File
}

// start starts a program in a namespace; what it prints goes to the file.
func start(namespace, log, name string, args ...string) (*process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	c := command(context.Background(), namespace, name, args...)
	c.Stdout, c.Stderr = file, file
	if err := c.Start(); err != nil {
		file.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{cmd: c, done: make(chan struct{}), log: file}
	go func() {
		_ = c.Wait() // that it ended is what matters
		close(p.done)
	}()
	return p, nil
}

// ended says whether the program is gone, with the last it printed.
func (p *process) ended() error {
	select {
	case <-p.done:
		text, _ := os.ReadFile(p.log.Name())
		return fmt.Errorf("%s ended: %s", p.cmd.Args[0], lastLine(string(text)))
	default:
		return nil
	}
}

// end asks the program to end and waits; one that does not is killed.
func (p *process) end() error {
	defer p.log.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // gone already is as good
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.cmd.Process.Pid, err)
	}
	<-p.done
	return fmt.Errorf("process %d did not end when asked, and was killed", p.cmd.Process.Pid)
}

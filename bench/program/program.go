// Package program runs other people's programs, and ours, for a benchmark to
// measure: each with its output in a file, and bound to a core.
package program

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Patience bounds the time until a program serves.
const Patience = 20 * time.Second

// A Program is one that runs.
type Program struct {
	cmd  *exec.Cmd
	log  string // file with what it said
	stop context.CancelFunc
	err  error
	done chan struct{} // closed when it has ended, and err is set
}

// Start starts a program in a directory, with its output in a file there that
// has its name. env is what its environment has beside ours.
func Start(ctx context.Context, name, dir string, env []string, args ...string) (*Program, error) {
	p := &Program{log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	ctx, p.stop = context.WithCancel(ctx)
	p.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// Pid is its process id.
func (p *Program) Pid() int { return p.cmd.Process.Pid }

// Close ends it, and waits until it has.
func (p *Program) Close() {
	p.stop()
	<-p.done
}

// Wrong is err with the last of what the program said.
func (p *Program) Wrong(err error) error {
	text, _ := os.ReadFile(p.log)
	last := strings.Join(strings.Fields(string(text[max(0, len(text)-500):])), " ")
	return fmt.Errorf("%w; it said: %s", err, last)
}

// Serves waits until try, which is called over and over, has no error.
func (p *Program) Serves(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.Wrong(fmt.Errorf("it ended: %w", p.err))
		case <-ctx.Done():
			return p.Wrong(err)
		}
	}
}

// Find finds a program, also where only root has it in the path.
func Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		if found, err := exec.LookPath("/usr/sbin/" + name); err == nil {
			return found, nil
		}
	}
	return path, err
}

// Version runs a program and returns what the first group of a pattern matches
// in what it prints.
func Version(ctx context.Context, pattern *regexp.Regexp, name string, args ...string) (string, error) {
	path, err := Find(name)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	m := pattern.FindSubmatch(out)
	if m == nil { // some say their version and fail
		return "", fmt.Errorf("%s says of its version: %q, %w", name, out, err)
	}
	return string(m[1]), nil
}

// FreeAddr is a loopback address nobody listens on now, neither for TCP nor for
// UDP.
func FreeAddr(ctx context.Context) (addr string, err error) {
	for range 20 { // most are free for both
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr = ln.Addr().String()
		udp, taken := new(net.ListenConfig).ListenPacket(ctx, "udp", addr)
		if taken == nil {
			return addr, errors.Join(udp.Close(), ln.Close())
		}
		if err := ln.Close(); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("no port is free for TCP and UDP; the last was of %s", addr)
}

// Pin returns the command that binds another to a core, empty where there is
// none.
func Pin(cpu string) []string {
	if _, err := exec.LookPath("taskset"); err != nil {
		return nil
	}
	return []string{"taskset", "-c", cpu}
}

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A program is another's, running.
type program struct {
	name string
	cmd  *exec.Cmd
	log  string // file with what it said
	stop context.CancelFunc
	err  error
	done chan struct{} // closed when it has ended, and err is set
}

// startProgram starts a program in a directory, with its output in a file
// there.
func startProgram(ctx context.Context, name, dir string, env []string, args ...string) (*program, error) {
	p := &program{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
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

// close ends it, and waits until it has.
func (p *program) close() {
	p.stop()
	<-p.done
}

// wrong is err with the last of what the program said.
func (p *program) wrong(err error) error {
	text, _ := os.ReadFile(p.log)
	last := strings.Join(strings.Fields(string(text[max(0, len(text)-500):])), " ")
	return fmt.Errorf("%w; it said: %s", err, last)
}

// startPatience bounds the time until a program answers.
const startPatience = 20 * time.Second

// answers waits until a URL is answered with the origin's answer.
func (p *program) answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fetch(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.wrong(fmt.Errorf("it ended: %w", p.err))
		case <-ctx.Done():
			return p.wrong(err)
		}
	}
}

// fetch asks for a URL once.
func fetch(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || n != bodySize) {
		err = fmt.Errorf("GET %s: %s with %d bytes", url, res.Status, n)
	}
	return err
}

// freeAddr is a loopback address nobody listens on now.
func freeAddr(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// pin returns the command that binds another to a core, empty where there is
// none.
func pin(cpu string) []string {
	if _, err := exec.LookPath("taskset"); err != nil {
		return nil
	}
	return []string{"taskset", "-c", cpu}
}

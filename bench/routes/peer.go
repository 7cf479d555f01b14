package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// token is every peer's.
const token = "a-token-for-benchmarks-alone"

// A peer is a program that speaks CHP's API.
type peer struct {
	name string
	// command is how it is started with its public and API addresses, and a
	// folder for what it keeps.
	command func(public, api, dir string) []string
}

// peers are all there are, ours last.
func peers(o options) []peer {
	flags := func(public, api string) []string {
		ip, port, _ := net.SplitHostPort(public)
		apiIP, apiPort, _ := net.SplitHostPort(api)
		return []string{"--ip", ip, "--port", port, "--api-ip", apiIP, "--api-port", apiPort, "--log-level", "error"}
	}
	var all []peer
	if o.chp != "" {
		all = append(all, peer{"configurable-http-proxy", func(public, api, _ string) []string {
			return append([]string{o.chp}, flags(public, api)...)
		}})
	}
	return append(all,
		peer{"signalbox chp", func(public, api, _ string) []string {
			return append([]string{o.ours, "chp"}, flags(public, api)...)
		}},
		peer{"signalbox up", func(public, api, dir string) []string {
			return []string{o.ours, "up", "--data-dir", dir, "--listen", public, "--api-listen", api, "--grpc-listen", "127.0.0.1:0", "--demo-listen", "off", "--log-level", "error"}
		}})
}

// A running peer.
type running struct {
	cmd         *exec.Cmd
	public, api string
	dir         string
}

// start starts a peer and waits until it serves.
func (p peer) start(ctx context.Context) (*running, error) {
	dir, err := os.MkdirTemp("", "routes")
	if err != nil {
		return nil, err
	}
	r := &running{dir: dir, public: free(), api: free()}
	args := p.command(r.public, r.api, dir)
	r.cmd = exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // as it is told
	r.cmd.Env = append(os.Environ(), "CONFIGPROXY_AUTH_TOKEN="+token)
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !r.serves(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s does not serve: %w", p.name, ctx.Err()), r.stop())
		}
	}
	return r, nil
}

// serves reports whether its table can be read.
func (r *running) serves(ctx context.Context) bool {
	status, _, err := newClient(1).call(ctx, "GET", "http://"+r.api+"/api/routes", "")
	return err == nil && status == 200
}

// stop ends it.
func (r *running) stop() error {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	_ = r.cmd.Wait() // CHP says 2
	return os.RemoveAll(r.dir)
}

// free is an address that nobody listens at.
func free() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0" // and starting fails
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

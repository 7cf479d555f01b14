package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// chpToken is the token of the proxies under test.
const chpToken = "a-token-that-only-tests-have"

// A chpSystem is something that behaves as configurable-http-proxy: ours as a
// drop-in, ours as a cluster, or the program itself.
type chpSystem struct {
	public, api string // addresses
	redirect    string // where plain HTTP is led to https; empty for none
	secure      *tls.Config
	log         *safeBuffer
	stop        func() int // ends it and returns its exit code, -1 where there is none
}

// The systems that rows can be played to.
const (
	asDropIn  = "drop-in"
	asCluster = "cluster"
	asCHP     = "CHP itself"
)

// safeBuffer is a buffer that is read while others write.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startCHP starts a system with CHP's flags.
func startCHP(t *testing.T, kind string, args ...string) *chpSystem {
	t.Helper()
	s := &chpSystem{public: freeAddr(t), api: freeAddr(t), log: &safeBuffer{}}
	switch kind {
	case asDropIn:
		s.startDropIn(t, args)
	case asCluster:
		s.startCluster(t, args)
	default:
		s.startProgram(t, args)
	}
	s.await(t)
	return s
}

// where are the flags that say where it listens.
func (s *chpSystem) where() []string {
	_, port, _ := net.SplitHostPort(s.public)
	_, apiPort, _ := net.SplitHostPort(s.api)
	return []string{"--ip", "127.0.0.1", "--port", port, "--api-ip", "127.0.0.1", "--api-port", apiPort}
}

func (s *chpSystem) startDropIn(t *testing.T, args []string) {
	if os.Getenv("CONFIGPROXY_AUTH_TOKEN") == "" && !slices.Contains(args, "no-token") {
		t.Setenv("CONFIGPROXY_AUTH_TOKEN", chpToken)
	}
	s.runHere(t, func(ctx context.Context) error {
		return runCHP(ctx, append(s.where(), withoutMarks(args)...), s.log, s.log)
	})
}

// withoutMarks leaves out what is for these tests alone.
func withoutMarks(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "no-token" })
}

// runHere runs a command in this process until the test ends.
func (s *chpSystem) runHere(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	s.stop = sync.OnceValue(func() int {
		cancel()
		return exitCode(<-ended)
	})
	t.Cleanup(func() { s.stop() })
}

// startCluster starts the parts of a cluster and says to them over the API what
// the flags say.
func (s *chpSystem) startCluster(t *testing.T, args []string) {
	var c chpFlags
	if err := c.parse(append(s.where(), args...)); err != nil {
		t.Fatal(err)
	}
	const admin = "an-admin-key-that-only-tests-have"
	up := []string{"up", "--data-dir", t.TempDir(), "--listen", s.public, "--api-listen", s.api, "--grpc-listen", "127.0.0.1:0",
		"--demo-listen", "off", "--admin-key", admin, "--chp-token", chpToken, "--access-log", "-1", "--drain-timeout", "1s", "--allow-unix-upstreams"}
	if c.hosts {
		up = append(up, "--chp-host-routing")
	}
	s.runHere(t, func(ctx context.Context) error {
		root := newRoot()
		root.SetArgs(up)
		root.SetOut(s.log)
		root.SetErr(s.log)
		return root.ExecuteContext(ctx)
	})
	s.says(t, " is up.")
	put := func(path string, body any) {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.api+path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+admin)
		res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if said, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", path, res.Status, said)
		}
	}
	var printed bytes.Buffer
	if err := runCHP(t.Context(), append(args, "--print-listener"), &printed, io.Discard); err != nil {
		t.Fatal(err, printed.String())
	}
	put("/v1/listeners", json.RawMessage(printed.Bytes()))
	if c.target != "" {
		put("/v1/routes", map[string]any{"wait": "nodes", "route": map[string]any{"name": "chp", "upstreams": []any{map[string]any{"url": c.target}}}})
	}
}

// startProgram starts CHP itself, which SIGNALBOX_CHP names.
func (s *chpSystem) startProgram(t *testing.T, args []string) {
	cmd := exec.Command(os.Getenv("SIGNALBOX_CHP"), append(s.where(), withoutMarks(args)...)...) //nolint:gosec // as it is told
	cmd.Env = append(os.Environ(), "TZ=UTC")
	if !slices.Contains(args, "no-token") {
		cmd.Env = append(cmd.Env, "CONFIGPROXY_AUTH_TOKEN="+chpToken)
	}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.stop = sync.OnceValue(func() int {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as told
		return -1
	})
	t.Cleanup(func() { s.stop() })
}

// await waits until both ports answer.
func (s *chpSystem) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, addr := range []string{s.public, s.api} {
		for {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				_ = c.Close()
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("it does not listen: %v\n%s", err, s.log)
			}
		}
	}
}

// says waits until the system has said something.
func (s *chpSystem) says(t *testing.T, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(s.log.String(), what) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it does not say %q:\n%s", what, s.log)
		}
	}
}

// freeAddr returns an address that nobody else is given while the test runs: a
// socket is bound to it that does not listen, and those who set SO_REUSEADDR, as
// servers do, can listen there all the same.
func freeAddr(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
}

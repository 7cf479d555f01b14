package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// chpToken is the token of the proxies under test.
const chpToken = "a-token-that-only-tests-have"

// A chpSystem is something that behaves as configurable-http-proxy: ours as a
// drop-in, ours as a cluster, or the program itself.
type chpSystem struct {
	public, api string // addresses
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

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// An answered is what came back. Status 0 is no answer: the connection was
// closed, or nothing came in time.
type answered struct {
	status int
	header http.Header
	body   string
	closed bool // the connection was closed without an answer
}

// send sends a request as it stands and reads the answer, for at most limit.
func (s *chpSystem) send(t *testing.T, addr, request string, limit time.Duration) answered {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.secure != nil {
		conn = tls.Client(conn, s.secure)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(conn, request); err != nil {
		return answered{closed: true}
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		timeout, ok := err.(net.Error) //nolint:errorlint // ReadResponse gives it as it is
		return answered{closed: !ok || !timeout.Timeout()}
	}
	defer func() { _ = res.Body.Close() }()
	a := answered{status: res.StatusCode, header: res.Header}
	_, phrase, _ := strings.Cut(res.Status, " ")
	a.header[":reason"] = []string{phrase}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return a
	}
	if res.Close { // ReadResponse takes the header away
		a.header.Set("Connection", "close")
	}
	body, err := io.ReadAll(res.Body)
	a.body = string(body)
	if err != nil {
		a.body += "…"
	}
	return a
}

// chpUpstream answers with what it was asked, a line for each thing; the query
// says how: status, phrase, location, header (a name), sleep (in milliseconds). WebSockets
// are answered 101 and echoed.
func chpUpstream(t *testing.T, name string) string {
	server := httptest.NewServer(chpEcho(name))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func chpEcho(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if ms, err := strconv.Atoi(q.Get("sleep")); err == nil {
			select {
			case <-time.After(time.Duration(ms) * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
		if r.Header.Get("Upgrade") == "websocket" && q.Get("status") == "" {
			echoUpgraded(w, r)
			return
		}
		if l := q.Get("location"); l != "" {
			w.Header().Set("Location", l)
		}
		w.Header().Set("Content-Type", "text/x-echo")
		status, err := strconv.Atoi(q.Get("status"))
		if err != nil {
			status = http.StatusOK
		}
		body, _ := io.ReadAll(r.Body)
		if phrase := q.Get("phrase"); phrase != "" {
			sayPhrase(w, status, phrase)
			return
		}
		w.WriteHeader(status)
		if status == http.StatusNoContent || status == http.StatusNotModified {
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s %s\nhost: %s\n", name, r.Method, r.RequestURI, r.Host)
		for _, h := range []string{"X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Custom", "X_odd.name", "Cookie"} {
			if v := r.Header.Values(h); v != nil {
				_, _ = fmt.Fprintf(w, "%s: %s\n", strings.ToLower(h), strings.Join(v, ", "))
			}
		}
		if len(body) > 0 {
			_, _ = fmt.Fprintf(w, "body: %s\n", body)
		}
	})
}

// sayPhrase answers with a reason phrase of one's own, which net/http cannot.
func sayPhrase(w http.ResponseWriter, status int, phrase string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, phrase)
}

// echoUpgraded says what the path was and echoes until the client ends.
func echoUpgraded(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Path: %s\r\nX-Proto: %s\r\nSec-Websocket-Protocol: %s\r\n\r\n",
		r.RequestURI, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Sec-Websocket-Protocol"))
	_, _ = io.Copy(conn, buffered)
}

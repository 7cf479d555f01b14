package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bound returns a socket with a port of its own, on which nobody listens.
func bound(t *testing.T) (fd int, addr string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
}

// blackHole returns the address of a listener whose backlog is full, so that
// nothing answers who connects to it.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, addr := bound(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 16 {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("this kernel has no full backlog")
	return ""
}

func TestConnectingFails(t *testing.T) {
	quick := Timeouts{Connect: 100 * time.Millisecond, TLS: 100 * time.Millisecond}
	_, nobody := bound(t)
	silent := raw(t, func(_ int, c net.Conn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, c) })
	plain := raw(t, keepAnswering("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
	dropping := raw(t, func(int, net.Conn, *bufio.Reader) {})
	untrusted, _ := secure(t, true, func(http.ResponseWriter, *http.Request) {})
	h1only, trusted := secure(t, false, func(http.ResponseWriter, *http.Request) {})
	strip := func(s string) string { return strings.TrimPrefix(s, "https://") }

	for _, c := range []struct {
		name    string
		cfg     Config
		target  Target
		want    Reason
		side    Side
		timeout bool
	}{
		{"nothing listens", Config{}, Target{Address: nobody}, ReasonDialRefused, SideUpstream, false},
		{"the socket file is missing", Config{AllowUnix: true}, Target{Network: "unix", Address: t.TempDir() + "/none"},
			ReasonDialRefused, SideUpstream, false},
		{"nobody answers", Config{}, Target{Address: blackHole(t)}, ReasonDialTimeout, SideNetwork, true},
		{"nobody answers, TLS", Config{}, Target{Address: blackHole(t), TLS: true}, ReasonDialTimeout, SideNetwork, true},
		{"the TLS peer is silent", Config{}, Target{Address: silent.addr, TLS: true}, ReasonTLSTimeout, SideUpstream, true},
		{"the TLS peer speaks plain HTTP", Config{}, Target{Address: plain.addr, TLS: true},
			ReasonTLSHandshake, SideUpstream, false},
		{"the TLS peer closes", Config{}, Target{Address: dropping.addr, TLS: true}, ReasonTLSHandshake, SideUpstream, false},
		{"the certificate is not trusted", Config{}, Target{Address: strip(untrusted.URL), TLS: true},
			ReasonTLSHandshake, SideUpstream, false},
		{"the certificate is another's", Config{TLS: trusted},
			Target{Address: strip(h1only.URL), TLS: true, ServerName: "other.test"}, ReasonTLSHandshake, SideUpstream, false},
		{"HTTP/2 is not agreed to", Config{TLS: trusted}, Target{Address: strip(h1only.URL), TLS: true, Protocol: H2},
			ReasonTLSHandshake, SideUpstream, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := acquire(t, registry(t, c.cfg), c.target)
			body := strings.NewReader("body")
			req := request(t, "POST", body)
			opt := Options{}
			if c.timeout {
				opt.Timeouts = quick
			}
			_, info, err := p.RoundTrip(req, opt)
			if got := reason(t, err, c.side); got != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if e := (*Error)(nil); errors.As(err, &e) && e.Timeout() != c.timeout {
				t.Errorf("Timeout is %v", e.Timeout())
			}
			if info.BodyTouched || info.BodySent || body.Len() != 4 || info.Reused {
				t.Errorf("%+v, %d bytes left: the body must be as it was", info, body.Len())
			}
			if Retriable(err, info, req) {
				t.Error("the same target would be tried again")
			}
			st := p.Stats()
			if st.Dials != 1 || st.Open != 0 || st.InFlight != 0 || st.Failures[c.want] != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestNameDoesNotResolve(t *testing.T) {
	refused := errors.New("no resolver here")
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, refused
	}}
	p := pool(t, Config{Resolver: resolver}, "name.invalid:80")
	_, info, err := p.RoundTrip(request(t, "GET", nil), Options{})
	if got := reason(t, err, SideNetwork); got != ReasonDNS {
		t.Errorf("got %v", err)
	}
	if info.Addr != "name.invalid:80" {
		t.Errorf("the address is %q", info.Addr)
	}
}

// Every way an upstream can spoil its answer has its reason.
func TestAnswerFails(t *testing.T) {
	say := func(text string) func(int, net.Conn, *bufio.Reader) {
		return func(_ int, c net.Conn, r *bufio.Reader) { answer(c, r, text) }
	}
	reset := func(text string) func(int, net.Conn, *bufio.Reader) {
		return func(_ int, c net.Conn, r *bufio.Reader) {
			answer(c, r, text)
			_ = c.(*net.TCPConn).SetLinger(0)
		}
	}
	silent := func(_ int, c net.Conn, r *bufio.Reader) {
		if answer(c, r, "") {
			_, _ = io.Copy(io.Discard, c)
		}
	}
	for _, c := range []struct {
		name     string
		serve    func(int, net.Conn, *bufio.Reader)
		want     Reason
		answered bool
	}{
		{"closes without a word", say(""), ReasonClosedBeforeResponse, false},
		{"closes within the header", say("HTTP/1.1 200 OK\r\nContent-Le"), ReasonClosedBeforeResponse, true},
		{"resets without a word", reset(""), ReasonReset, false},
		{"says garbage", say("SSH-2.0-OpenSSH_9.2\r\n"), ReasonBadResponse, true},
		{"has a broken header", say("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"), ReasonBadResponse, true},
		{"has a large header", say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10) + "\r\n\r\n"),
			ReasonHeaderTooLarge, true},
		{"never answers", silent, ReasonHeaderTimeout, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pool(t, Config{}, raw(t, c.serve).addr)
			wait := patience
			if c.want == ReasonHeaderTimeout {
				wait = 300 * time.Millisecond
			}
			_, info, err := p.RoundTrip(request(t, "GET", nil), Options{Timeouts: Timeouts{Header: wait}})
			if got := reason(t, err, SideUpstream); got != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if info.Answered != c.answered || info.Reused || info.Protocol != H1 {
				t.Errorf("info %+v", info)
			}
			if st := p.Stats(); st.Open != 0 || st.InFlight != 0 || st.Failures[c.want] != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// The timer of a connection may have been set for the exchange before.
func TestTimerOfTheExchangeBeforeIsIgnored(t *testing.T) {
	asked, proceed := make(chan struct{}), make(chan struct{})
	p := pool(t, Config{}, raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		_, _ = http.ReadRequest(r)
		close(asked)
		<-proceed
		_, _ = io.WriteString(c, ok)
	}).addr)
	req := request(t, "GET", nil)
	done := make(chan error, 1)
	go func() {
		resp, _, err := p.RoundTrip(req, Options{})
		if err == nil {
			err = resp.Body.Close()
		}
		done <- err
	}()
	happens(t, "the request arrives", asked)
	p.mu.Lock()
	open := slices.Collect(maps.Keys(p.open))
	p.mu.Unlock()
	open[0].headerDue()
	close(proceed)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHeaderBelowTheLimitPasses(t *testing.T) {
	p := pool(t, Config{}, raw(t, keepAnswering(
		"HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 250<<10)+"\r\nContent-Length: 2\r\n\r\nok")).addr)
	if got, _ := get(t, p, Options{}); got != "ok" {
		t.Errorf("got %q", got)
	}
}

func TestBodyFails(t *testing.T) {
	const fixed = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n"
	for _, c := range []struct {
		name, text string
		reset      bool
		want       Reason
	}{
		{"a body of known length is cut", fixed, false, ReasonBodyTruncated},
		{"a chunked body is cut", chunked, false, ReasonBodyTruncated},
		{"a body is reset", fixed, true, ReasonReset},
		{"a chunk is malformed", chunked + "zz\r\n", false, ReasonBadResponse},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := make(chan struct{}) // the client has what came
			p := pool(t, Config{}, raw(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				answer(conn, r, c.text)
				<-read
				if c.reset {
					_ = conn.(*net.TCPConn).SetLinger(0)
				}
			}).addr)
			resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
			if err != nil {
				close(read)
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
				t.Error(err)
			}
			close(read)
			_, err = io.ReadAll(resp.Body)
			if got := reason(t, err, SideUpstream); got != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
			_ = resp.Body.Close()
			if st := p.Stats(); st.Open != 0 || st.InFlight != 0 || st.Failures[c.want] != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestRequestThatCannotBeSentLeavesTheConnectionAlone(t *testing.T) {
	o := raw(t, keepAnswering(ok))
	p := pool(t, Config{}, o.addr)
	get(t, p, Options{})
	req := request(t, "GET", nil)
	req.Header["Bad Name"] = []string{"x"}
	_, _, err := p.RoundTrip(req, Options{})
	if got := reason(t, err, SideNode); got != ReasonBadRequest {
		t.Errorf("got %v", err)
	}
	if _, info := get(t, p, Options{}); !info.Reused || o.accepted() != 1 {
		t.Errorf("%+v, %d connections", info, o.accepted())
	}
}

// failing is a body that breaks as a client's malformed chunk does.
type failing struct {
	text io.Reader
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.text.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func TestClientsBodyFails(t *testing.T) {
	malformed := errors.New("malformed chunk")
	for _, proto := range []Protocol{H1, H2C} {
		t.Run(string(proto), func(t *testing.T) {
			r := registry(t, Config{})
			handler := func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
			addr := raw(t, keepAnswering(ok)).addr
			if proto == H2C {
				addr = cleartext(t, handler, nil)
			}
			p := acquire(t, r, Target{Address: addr, Protocol: proto})
			req := request(t, "POST", &failing{strings.NewReader("some"), malformed})
			_, info, err := p.RoundTrip(req, Options{})
			if got := reason(t, err, SideClient); got != ReasonClientBody || !errors.Is(err, malformed) {
				t.Errorf("got %v", err)
			}
			if !info.BodyTouched || info.BodySent {
				t.Errorf("info %+v", info)
			}
		})
	}
}

func TestContextEndsBeforeTheAnswer(t *testing.T) {
	for _, proto := range []Protocol{H1, H2C} {
		for _, c := range []struct {
			name string
			end  func(context.Context) (context.Context, context.CancelFunc)
			want Reason
			side Side
		}{
			{"canceled", func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithCancel(ctx)
			}, ReasonCanceled, SideClient},
			{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 100*time.Millisecond)
			}, ReasonDeadline, SideNode},
		} {
			t.Run(string(proto)+"/"+c.name, func(t *testing.T) {
				asked, gone := make(chan struct{}), make(chan struct{})
				addr := ""
				if proto == H1 {
					addr = raw(t, func(_ int, conn net.Conn, r *bufio.Reader) {
						_, _ = http.ReadRequest(r)
						close(asked)
						_, _ = r.ReadByte()
						close(gone)
					}).addr
				} else {
					addr = cleartext(t, func(_ http.ResponseWriter, r *http.Request) {
						close(asked)
						<-r.Context().Done()
						close(gone)
					}, nil)
				}
				p := acquire(t, registry(t, Config{}), Target{Address: addr, Protocol: proto})
				req := request(t, "GET", nil)
				ctx, cancel := c.end(req.Context())
				defer cancel()
				if c.want == ReasonCanceled {
					go func() { <-asked; cancel() }()
				}
				_, _, err := p.RoundTrip(req.WithContext(ctx), Options{})
				if got := reason(t, err, c.side); got != c.want {
					t.Errorf("got %v", err)
				}
				happens(t, "the upstream sees the request end", gone)
			})
		}
	}
}

func TestContextEndsWhileConnecting(t *testing.T) {
	for _, target := range []Target{{Address: blackHole(t)}, {Address: blackHole(t), TLS: true}} {
		p := acquire(t, registry(t, Config{}), target)
		req := request(t, "GET", nil)
		ctx, cancel := context.WithTimeout(req.Context(), 50*time.Millisecond)
		_, _, err := p.RoundTrip(req.WithContext(ctx), Options{Timeouts: Timeouts{Connect: 500 * time.Millisecond}})
		cancel()
		if got := reason(t, err, SideNode); got != ReasonDeadline {
			t.Errorf("got %v", err)
		}
	}
}

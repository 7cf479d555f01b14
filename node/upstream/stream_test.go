package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// both runs a test over HTTP/1.1 and over HTTP/2, each against net/http's server.
func both(t *testing.T, h http.HandlerFunc, test func(t *testing.T, p *Pool)) {
	t.Run("h1", func(t *testing.T) {
		srv, trusted := secure(t, false, h) // over TLS, for the wire above it
		target, _ := parse(t, srv.URL)
		test(t, acquire(t, registry(t, Config{TLS: trusted}), target))
	})
	t.Run("h2", func(t *testing.T) {
		srv, trusted := secure(t, true, h)
		target, _ := parse(t, srv.URL)
		test(t, acquire(t, registry(t, Config{TLS: trusted}), target))
	})
	t.Run("h2c", func(t *testing.T) {
		test(t, acquire(t, registry(t, Config{}), Target{Address: cleartext(t, h, nil), Protocol: H2C}))
	})
}

func TestInformationalResponsesComeAtOnce(t *testing.T) {
	seen := make(chan struct{})
	both(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		<-seen // the 200 waits until the 103 has come through
		w.WriteHeader(http.StatusOK)
	}, func(t *testing.T, p *Pool) {
		seen = make(chan struct{})
		req := request(t, "GET", nil)
		ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code != 103 || h.Get("Link") != "</a.css>" {
					t.Errorf("got %d %v", code, h)
				}
				close(seen)
				return nil
			},
		})
		resp, _, err := p.RoundTrip(req.WithContext(ctx), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if read(t, resp); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

// trailing sets trailers when it is read to its end, as a server's request
// body does.
type trailing struct {
	io.Reader
	atEnd func()
}

func (b *trailing) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.atEnd()
	}
	return n, err
}

func TestTrailersGoBothWays(t *testing.T) {
	both(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		w.Header().Set("X-Announced", r.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "u")
	}, func(t *testing.T, p *Pool) {
		req := request(t, "POST", nil)
		req.Trailer = http.Header{"X-Sum": nil}
		req.ContentLength = -1
		req.Body = io.NopCloser(&trailing{strings.NewReader("body"), func() { req.Trailer.Set("X-Sum", "42") }})
		resp, _, err := p.RoundTrip(req, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); got != "body" {
			t.Errorf("got %q", got)
		}
		if resp.Trailer.Get("X-Announced") != "42" || resp.Trailer.Get("X-Unannounced") != "u" {
			t.Errorf("trailers %v", resp.Trailer)
		}
		if resp.Request != req {
			t.Error("the response is not of the caller's request")
		}
	})
}

func TestFullDuplex(t *testing.T) {
	both(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush() // the header goes before anything was received
		buf := make([]byte, 16)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = rc.Flush()
			if err != nil {
				return
			}
		}
	}, func(t *testing.T, p *Pool) {
		in, out := io.Pipe()
		resp, info, err := p.RoundTrip(request(t, "POST", in), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if info.BodySent {
			t.Errorf("info %+v", info)
		}
		buf := make([]byte, 16)
		for i := range 5 {
			text := fmt.Sprint("ping", i)
			if _, err := io.WriteString(out, text); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, buf[:len(text)]); err != nil || string(buf[:len(text)]) != text {
				t.Fatalf("got %q, %v", buf[:len(text)], err)
			}
		}
		_ = out.Close()
		if got := read(t, resp); got != "" {
			t.Errorf("left over: %q", got)
		}
		_, info = get(t, p, Options{})
		if !info.Reused {
			t.Error("the connection was not kept")
		}
	})
}

// An upstream that turns an upload down answers at once and closes. Its answer
// must come through although sending to it fails.
func TestEarlyAnswerToAnUpload(t *testing.T) {
	o := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		_, _ = http.ReadRequest(r)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
		// closing with the upload unread resets the connection
	})
	p := pool(t, Config{}, o.addr)
	for range 40 {
		resp, _, err := p.RoundTrip(request(t, "POST", io.LimitReader(endless{}, 64<<20)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); resp.StatusCode != 413 || got != "large" {
			t.Fatalf("got %d %q", resp.StatusCode, got)
		}
	}
	if st := p.Stats(); st.Open != 0 || st.Failures != nil {
		t.Errorf("stats %+v", st)
	}
}

// endless is a body of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// stuck is the body of a client that has stopped sending. It has a read
// deadline, like a server's request with its ResponseController.
func stuck(t *testing.T, first string) io.ReadCloser {
	a, b := net.Pipe()
	go func() { _, _ = io.WriteString(b, first) }()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a
}

func TestStuckClientHoldsUpNoError(t *testing.T) {
	drop := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		_, _ = http.ReadRequest(r)
		_, _ = io.ReadFull(r, make([]byte, 9)) // the chunk with the first bytes
	})
	for name, c := range map[string]struct {
		addr string
		h2   bool
		end  bool // the request's context ends, not the upstream
		want Reason
		side Side
	}{
		"the upstream closes": {addr: drop.addr, want: ReasonClosedBeforeResponse, side: SideUpstream},
		"canceled": {addr: raw(t, func(_ int, c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }).addr,
			end: true, want: ReasonCanceled, side: SideClient},
		"canceled over HTTP/2": {addr: cleartext(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil),
			h2: true, end: true, want: ReasonCanceled, side: SideClient},
	} {
		t.Run(name, func(t *testing.T) {
			target := Target{Address: c.addr}
			if c.h2 {
				target.Protocol = H2C
			}
			p := acquire(t, registry(t, Config{}), target)
			body := &watched{ReadCloser: stuck(t, "1234"), read: make(chan struct{})}
			req := request(t, "POST", body)
			ctx, cancel := context.WithCancel(req.Context())
			defer cancel()
			if c.end {
				go func() { <-body.read; cancel() }()
			}
			_, info, err := p.RoundTrip(req.WithContext(ctx), Options{})
			if got := reason(t, err, c.side); got != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if info.BodySent || !info.BodyTouched {
				t.Errorf("info %+v", info)
			}
		})
	}
}

// watched says when it was first read, and keeps its deadline.
type watched struct {
	io.ReadCloser
	read chan struct{}
	once atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if w.once.CompareAndSwap(false, true) {
		close(w.read)
	}
	return n, err
}

func (w *watched) SetReadDeadline(at time.Time) error {
	return w.ReadCloser.(net.Conn).SetReadDeadline(at)
}

func (w *watched) Close() error { return errors.New("RoundTrip must not close the client's body") }

func TestExpectContinue(t *testing.T) {
	const go100 = "HTTP/1.1 100 Continue\r\n\r\n"
	for _, c := range []struct {
		name    string
		first   string // what the upstream says to the header
		wait    time.Duration
		status  int
		touched bool
	}{
		{"the body follows the upstream's 100", go100, -1, 200, true},
		{"the body follows a silence", "", time.Millisecond, 200, true},
		{"the body stays away after a refusal", "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge", -1, 413, false},
		{"and after one that closes", "HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\nlarge", -1, 413, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var allowed atomic.Bool
			allowed.Store(c.first == "")
			p := pool(t, Config{}, raw(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if req.Header.Get("Expect") != "100-continue" {
					t.Errorf("header %v", req.Header)
				}
				allowed.Store(c.first == go100 || c.first == "")
				_, _ = io.WriteString(conn, c.first)
				if c.status == 200 {
					_, _ = io.Copy(io.Discard, req.Body)
					_, _ = io.WriteString(conn, ok)
				} else if !strings.Contains(c.first, "close") {
					_, _ = io.Copy(io.Discard, r)
				}
			}).addr)
			req := request(t, "POST", readerFunc(func(p []byte) (int, error) {
				if !allowed.Load() {
					t.Error("the client's body was read before its time")
				}
				return 0, io.EOF
			}))
			req.Header.Set("Expect", "100-continue")
			resp, info, err := p.RoundTrip(req, Options{Timeouts: Timeouts{Continue: c.wait}})
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status {
				t.Errorf("status %d", resp.StatusCode)
			}
			_ = read(t, resp)
			if info.BodyTouched != c.touched {
				t.Errorf("info %+v", info)
			}
			if st := p.Stats(); st.Failures != nil || st.InFlight != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestExpectContinueOverHTTP2(t *testing.T) {
	addr := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("q") == "refuse" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = io.Copy(w, r.Body) // net/http's server says 100 at the first read
	}, nil)
	p := acquire(t, registry(t, Config{}), Target{Address: addr, Protocol: H2C})
	for _, q := range []string{"refuse", "take"} {
		req := request(t, "POST", strings.NewReader("body"))
		req.URL.RawQuery = "q=" + q
		req.Header.Set("Expect", "100-continue")
		resp, info, err := p.RoundTrip(req, Options{Timeouts: Timeouts{Continue: -1}})
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, resp)
		if (q == "take") != (got == "body") || info.BodyTouched != (q == "take") {
			t.Errorf("%s: %d %q %+v", q, resp.StatusCode, got, info)
		}
	}
}

func TestContextEndsWithinTheBody(t *testing.T) {
	for _, proto := range []Protocol{H1, H2C} {
		t.Run(string(proto), func(t *testing.T) {
			gone := make(chan struct{})
			addr := ""
			if proto == H1 {
				addr = raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
					answer(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
					_, _ = r.ReadByte()
					close(gone)
				}).addr
			} else {
				addr = cleartext(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "ha")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					close(gone)
				}, nil)
			}
			p := acquire(t, registry(t, Config{}), Target{Address: addr, Protocol: proto})
			req := request(t, "GET", nil)
			ctx, cancel := context.WithCancel(req.Context())
			defer cancel()
			resp, _, err := p.RoundTrip(req.WithContext(ctx), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
			cancel()
			_, err = io.ReadAll(resp.Body)
			if got := reason(t, err, SideClient); got != ReasonCanceled {
				t.Errorf("got %v", err)
			}
			if _, again := resp.Body.Read(make([]byte, 1)); again == nil || reason(t, again, SideClient) != ReasonCanceled {
				t.Errorf("a second read: %v", again)
			}
			_ = resp.Body.Close()
			happens(t, "the upstream sees the request end", gone)
			if st := p.Stats(); st.InFlight != 0 || st.Failures[ReasonCanceled] != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// upgrading answers an upgrade, with early in the same packet as the 101, and
// echoes what comes until the client's end.
func upgrading(early string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, r *bufio.Reader) {
		if answer(c, r, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+early) {
			_, _ = io.Copy(c, r)
			_, _ = io.WriteString(c, "bye")
		}
	}
}

func upgradeRequest(t *testing.T) *http.Request {
	req := request(t, "GET", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	return req
}

func TestUpgrade(t *testing.T) {
	p := pool(t, Config{}, raw(t, upgrading("early")).addr)
	resp, _, err := p.RoundTrip(upgradeRequest(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	stream, isStream := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != 101 || !isStream {
		t.Fatalf("got %d with a %T", resp.StatusCode, resp.Body)
	}
	if st := p.Stats(); st.Open != 1 || st.InFlight != 1 {
		t.Errorf("while upgraded: %+v", st)
	}
	if _, err := io.WriteString(stream, " echo"); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.(*Upgraded).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(stream); err != nil || string(got) != "early echobye" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = stream.Close()
	if st := p.Stats(); st.Open != 0 || st.InFlight != 0 || st.Failures != nil {
		t.Errorf("afterwards: %+v", st)
	}
}

func TestUpgradedStreamIsDetached(t *testing.T) {
	for _, early := range []string{"", "early", strings.Repeat("e", 3000)} {
		p := pool(t, Config{}, raw(t, upgrading(early)).addr)
		resp, _, err := p.RoundTrip(upgradeRequest(t), Options{})
		if err != nil {
			t.Fatal(err)
		}
		nc, before, err := resp.Body.(*Upgraded).Detach()
		if err != nil {
			t.Fatal(err)
		}
		tcp, isTCP := nc.(*net.TCPConn)
		if !isTCP {
			t.Fatalf("got a %T, which the kernel cannot splice", nc)
		}
		if _, err := io.WriteString(tcp, "echo"); err != nil {
			t.Fatal(err)
		}
		_ = tcp.CloseWrite()
		after, err := io.ReadAll(tcp)
		if got := string(append(bytes.Clone(before), after...)); err != nil || got != early+"echobye" {
			t.Errorf("got %q, %v", got, err)
		}
		_ = resp.Body.Close()
		if st := p.Stats(); st.Open != 0 || st.InFlight != 0 {
			t.Errorf("afterwards: %+v", st)
		}
	}
}

func TestWritingToAnUpgradedStreamThatWasResetFails(t *testing.T) {
	p := pool(t, Config{}, raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		answer(c, r, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = c.(*net.TCPConn).SetLinger(0)
	}).addr)
	resp, _, err := p.RoundTrip(upgradeRequest(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "writing fails", func() bool { _, err := io.WriteString(resp.Body.(*Upgraded), "x"); return err != nil })
	_ = resp.Body.Close()
}

func TestUpgradedStreamEndsWithItsRequest(t *testing.T) {
	p := pool(t, Config{}, raw(t, upgrading("")).addr)
	req := upgradeRequest(t)
	ctx, cancel := context.WithCancel(req.Context())
	resp, _, err := p.RoundTrip(req.WithContext(ctx), Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended without an error")
	}
	_ = resp.Body.Close()
	eventually(t, "the pool is unused", func() bool { st := p.Stats(); return st.Open == 0 && st.InFlight == 0 })
}

func TestSwitchOfProtocolsThatIsNone(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		req  *http.Request
	}{
		"not asked for": {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			request(t, "GET", nil)},
		"to nothing": {"HTTP/1.1 101 Switching Protocols\r\n\r\n", upgradeRequest(t)},
	} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, Config{}, raw(t, func(_ int, conn net.Conn, r *bufio.Reader) { answer(conn, r, c.text) }).addr)
			_, _, err := p.RoundTrip(c.req, Options{})
			if got := reason(t, err, SideUpstream); got != ReasonBadResponse {
				t.Errorf("got %v", err)
			}
			if st := p.Stats(); st.Open != 0 || st.InFlight != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestBodyOfKnownLength(t *testing.T) {
	both(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 100_000 {
			t.Errorf("the upstream was told %d", r.ContentLength)
		}
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	}, func(t *testing.T, p *Pool) {
		for range 3 {
			req := request(t, "PUT", io.LimitReader(endless{}, 100_000))
			req.ContentLength = 100_000
			resp, info, err := p.RoundTrip(req, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, resp); got != "100000 <nil>" || !info.BodySent || !info.BodyTouched {
				t.Errorf("%q %+v", got, info)
			}
		}
	})
}

func TestBodyOfAnotherLengthThanSaid(t *testing.T) {
	p := pool(t, Config{}, raw(t, func(_ int, c net.Conn, r *bufio.Reader) { answer(c, r, "") }).addr)
	req := request(t, "PUT", strings.NewReader("short"))
	req.ContentLength = 10
	_, _, err := p.RoundTrip(req, Options{})
	if got := reason(t, err, SideNode); got != ReasonBadRequest {
		t.Errorf("got %v", err)
	}
}

func TestRefusedUpgradeIsAnAnswerLikeAnother(t *testing.T) {
	p := pool(t, Config{}, raw(t, keepAnswering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")).addr)
	for i := range 2 {
		resp, info, err := p.RoundTrip(upgradeRequest(t), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); resp.StatusCode != 403 || got != "no" || info.Reused != (i > 0) {
			t.Errorf("%d %q %+v", resp.StatusCode, got, info)
		}
	}
}

// What the node was not told to send is not sent, and what was is left as it is.
func TestRequestGoesOutAsItIs(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	head := make(chan string, 1)
	p := pool(t, Config{}, raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		var text strings.Builder
		for {
			line, err := r.ReadString('\n')
			text.WriteString(line)
			if err != nil || line == "\r\n" {
				break
			}
		}
		head <- text.String()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nzip")
	}).addr)
	req := request(t, "GET", nil)
	req.Host = "public.example"
	req.URL.Path, req.URL.RawPath = "/a/b//../c", "/a%2Fb//../c"
	req.URL.RawQuery = "a=1;b=2&c"
	req.Header["User-Agent"] = nil
	resp, _, err := p.RoundTrip(req, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, resp); got != "zip" || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("the answer was unpacked: %q %v", got, resp.Header)
	}
	if got, want := <-head, "GET /a%2Fb//../c?a=1;b=2&c HTTP/1.1\r\nHost: public.example\r\n\r\n"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

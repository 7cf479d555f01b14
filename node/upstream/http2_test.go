package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func hello(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }

func TestProtocolIsTheTargetsChoice(t *testing.T) {
	h1h2, trusted := secure(t, true, hello)
	h1only, trusted1 := secure(t, false, hello)
	strip := func(s string) string { return strings.TrimPrefix(s, "https://") }
	for _, c := range []struct {
		name   string
		cfg    Config
		target Target
		want   Protocol
		proto  string
	}{
		{"auto with TLS takes HTTP/2", Config{TLS: trusted}, Target{Address: strip(h1h2.URL), TLS: true}, H2, "HTTP/2.0"},
		{"auto with TLS takes HTTP/1.1 where there is no other", Config{TLS: trusted1},
			Target{Address: strip(h1only.URL), TLS: true}, H1, "HTTP/1.1"},
		{"h1 with TLS", Config{TLS: trusted}, Target{Address: strip(h1h2.URL), TLS: true, Protocol: H1}, H1, "HTTP/1.1"},
		{"h2", Config{TLS: trusted}, Target{Address: strip(h1h2.URL), TLS: true, Protocol: H2}, H2, "HTTP/2.0"},
		{"h2c", Config{}, Target{Address: cleartext(t, hello, nil), Protocol: H2C}, H2C, "HTTP/2.0"},
		{"a server name of its own", Config{TLS: trusted},
			Target{Address: strip(h1h2.URL), TLS: true, ServerName: "example.com"}, H2, "HTTP/2.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := acquire(t, registry(t, c.cfg), c.target)
			for i := range 3 {
				resp, info, err := p.RoundTrip(request(t, "GET", nil), Options{})
				if err != nil {
					t.Fatal(err)
				}
				if got := read(t, resp); got != c.proto || info.Protocol != c.want || info.Reused != (i > 0) {
					t.Errorf("%q %+v", got, info)
				}
				if (resp.TLS != nil) != c.target.TLS {
					t.Errorf("TLS state: %v", resp.TLS)
				}
			}
			if st := p.Stats(); st.Dials != 1 || st.Open != 1 || st.Idle != 1 || st.InFlight != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// Requests that come at once share one connection where it can be shared, and
// wait for one attempt to find out.
func TestFirstRequestsShareOneConnection(t *testing.T) {
	const n = 50
	for _, name := range []string{"h2", "h2c"} {
		t.Run(name, func(t *testing.T) {
			var arrived sync.WaitGroup
			arrived.Add(n)
			h := func(w http.ResponseWriter, r *http.Request) {
				arrived.Done()
				arrived.Wait() // all at the same time
				hello(w, r)
			}
			var p *Pool
			if name == "h2" {
				srv, trusted := secure(t, true, h)
				target, _ := parse(t, srv.URL)
				p = acquire(t, registry(t, Config{TLS: trusted}), target)
			} else {
				p = acquire(t, registry(t, Config{}), Target{Address: cleartext(t, h, nil), Protocol: H2C})
			}
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
					if err != nil {
						t.Error(err)
						arrived.Done()
						return
					}
					read(t, resp)
				})
			}
			wg.Wait()
			if st := p.Stats(); st.Dials != 1 || st.Open != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestStreamLimitOpensFurtherConnections(t *testing.T) {
	var busy, most atomic.Int32
	release := make(chan struct{})
	addr := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), busy.Add(1)))
		<-release
		busy.Add(-1)
		hello(w, r)
	}, &http.HTTP2Config{MaxConcurrentStreams: 2})
	p := acquire(t, registry(t, Config{}), Target{Address: addr, Protocol: H2C})
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
			if err != nil {
				t.Error(err)
				return
			}
			read(t, resp)
		})
		// One after the other, so that the server's limit is known.
		eventually(t, "the request arrives", func() bool { return int(busy.Load()) == i+1 })
	}
	if st := p.Stats(); st.Open != 3 || st.InFlight != 6 {
		t.Errorf("stats %+v, want three connections of two streams", st)
	}
	close(release)
	wg.Wait()
}

func TestClientThatLeavesDoesNotFailTheOthersThatWait(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	held := &heldListener{srv.Listener, make(chan struct{})}
	srv.Listener, srv.EnableHTTP2 = held, true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	target, _ := parse(t, srv.URL)
	p := acquire(t, registry(t, Config{TLS: &tls.Config{RootCAs: roots}, Timeouts: Timeouts{TLS: patience}}), target)

	req := request(t, "GET", nil)
	ctx, leave := context.WithCancel(req.Context())
	left, served := make(chan error, 1), make(chan error, 1)
	go func() {
		_, _, err := p.RoundTrip(req.WithContext(ctx), Options{})
		left <- err
	}()
	eventually(t, "the first request connects", func() bool { return p.Stats().Dials == 1 })
	other := request(t, "GET", nil)
	go func() {
		resp, info, err := p.RoundTrip(other, Options{})
		if err == nil {
			err = resp.Body.Close()
		}
		if info.Reused || info.Dial <= 0 {
			t.Errorf("info %+v", info)
		}
		served <- err
	}()
	eventually(t, "the second one waits", func() bool { return p.Stats().InFlight == 2 })
	leave()
	if got := reason(t, <-left, SideClient); got != ReasonCanceled {
		t.Errorf("the first request: %v", got)
	}
	close(held.hold)
	if err := <-served; err != nil {
		t.Errorf("the second request: %v", err)
	}
	if st := p.Stats(); st.Dials != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestRequestThatJustMissedAConnectionLooksAgain(t *testing.T) {
	p := acquire(t, registry(t, Config{}), Target{Address: cleartext(t, hello, nil), Protocol: H2C})
	before := p.landed.Load()
	get(t, p, Options{})
	f := p.join(Timeouts{}.or(p.registry.cfg.Timeouts), before)
	happens(t, "what it joins is over", f.done)
	if st := p.Stats(); st.Dials != 1 {
		t.Errorf("stats %+v", st)
	}
}

// heldListener accepts nothing until hold is closed.
type heldListener struct {
	net.Listener
	hold chan struct{}
}

func (l *heldListener) Accept() (net.Conn, error) { <-l.hold; return l.Listener.Accept() }

func TestUpgradeNeedsHTTP1(t *testing.T) {
	srv, trusted := secure(t, true, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			hello(w, r)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(c, rw)
		_ = c.Close()
	})
	target, _ := parse(t, srv.URL)
	p := acquire(t, registry(t, Config{TLS: trusted}), target)
	get(t, p, Options{}) // HTTP/2
	resp, info, err := p.RoundTrip(upgradeRequest(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || info.Protocol != H1 {
		t.Fatalf("%d %+v", resp.StatusCode, info)
	}
	stream := resp.Body.(*Upgraded)
	_, _ = io.WriteString(stream, "echo over TLS")
	_ = stream.CloseWrite()
	if got, err := io.ReadAll(stream); err != nil || string(got) != "echo over TLS" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = stream.Close()
	if _, info := get(t, p, Options{}); info.Protocol != H2 || !info.Reused {
		t.Errorf("afterwards: %+v", info)
	}

	only := acquire(t, registry(t, Config{}), Target{Address: "127.0.0.1:1", Protocol: H2C})
	_, _, err = only.RoundTrip(upgradeRequest(t), Options{})
	if got := reason(t, err, SideNode); got != ReasonBadRequest {
		t.Errorf("to a target of HTTP/2 only: %v", err)
	}
}

func TestHeaderTimeoutOverHTTP2LeavesTheConnection(t *testing.T) {
	var slow atomic.Bool
	slow.Store(true)
	addr := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			<-r.Context().Done()
		}
		hello(w, r)
	}, nil)
	p := acquire(t, registry(t, Config{}), Target{Address: addr, Protocol: H2C})
	_, _, err := p.RoundTrip(request(t, "GET", nil), Options{Timeouts: Timeouts{Header: 50 * time.Millisecond}})
	if got := reason(t, err, SideUpstream); got != ReasonHeaderTimeout {
		t.Errorf("got %v", err)
	}
	slow.Store(false)
	if _, info := get(t, p, Options{}); !info.Reused {
		t.Error("the connection is gone")
	}
}

// The header's time begins when the request is sent, so a slow upload does not
// use it up.
func TestHeaderTimeoutBeginsAfterTheBody(t *testing.T) {
	for _, proto := range []Protocol{H1, H2C} {
		t.Run(string(proto), func(t *testing.T) {
			addr := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			}, nil)
			if proto == H1 {
				addr = raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
					if answer(c, r, "") {
						_, _ = io.Copy(io.Discard, c)
					}
				}).addr
			}
			p := acquire(t, registry(t, Config{}), Target{Address: addr, Protocol: proto})
			const limit = 50 * time.Millisecond
			in, out := io.Pipe()
			go func() {
				<-time.After(3 * limit) // the subject is time: the client is slower than the limit
				_ = out.Close()
			}()
			_, info, err := p.RoundTrip(request(t, "POST", in), Options{Timeouts: Timeouts{Header: limit}})
			if got := reason(t, err, SideUpstream); got != ReasonHeaderTimeout || !info.BodySent {
				t.Errorf("got %v, %+v", err, info)
			}
		})
	}
}

// frames serves HTTP/2 by hand: it answers each request's HEADERS with what
// reply says, frame by frame.
func frames(reply func(stream uint32) [][]byte) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, r *bufio.Reader) {
		if _, err := r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
			return
		}
		_, _ = c.Write(frame(4, 0, 0, nil)) // SETTINGS
		for {
			head := make([]byte, 9)
			if _, err := io.ReadFull(r, head); err != nil {
				return
			}
			if _, err := r.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
				return
			}
			if head[3] != 1 { // HEADERS
				continue
			}
			for _, f := range reply(binary.BigEndian.Uint32(head[5:])) {
				if f == nil { // an orderly end, with all read that was sent
					_ = c.(*net.TCPConn).CloseWrite()
					_, _ = io.Copy(io.Discard, r)
					return
				}
				_, _ = c.Write(f)
			}
		}
	}
}

// frame returns one HTTP/2 frame (RFC 9113, section 4.1).
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	f := append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(f[5:], stream)
	return append(f, payload...)
}

func word(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// This is also what tells that net/http's texts and types of HTTP/2 errors
// have changed.
func TestHTTP2Fails(t *testing.T) {
	const status200 = "\x88" // of HPACK's static table
	// Each field is a literal name and value (RFC 7541, section 6.2.2). Together
	// they are little more than the limit: far above it net/http gives up the
	// connection, and says only that the protocol was broken.
	large := status200 + strings.Repeat("\x00\x01x\x7d"+strings.Repeat("x", 125), defaultMaxHeader/158+4)
	for _, c := range []struct {
		name      string
		reply     func(stream uint32) [][]byte
		want      Reason
		retriable bool // though it is a POST
	}{
		{"the stream is refused", func(s uint32) [][]byte { return [][]byte{frame(3, 0, s, word(7))} },
			ReasonStreamRefused, true},
		{"the server goes away before the stream", func(uint32) [][]byte {
			return [][]byte{frame(7, 0, 0, append(word(0), word(0)...)), nil}
		}, ReasonStreamRefused, true},
		{"the server goes away with the stream", func(s uint32) [][]byte {
			return [][]byte{frame(7, 0, 0, append(word(s), word(0)...)), nil}
		}, ReasonClosedBeforeResponse, false},
		{"the stream is reset", func(s uint32) [][]byte { return [][]byte{frame(3, 0, s, word(2))} }, ReasonReset, false},
		{"the connection ends", func(uint32) [][]byte { return [][]byte{nil} }, ReasonClosedBeforeResponse, false},
		{"a header without a status", func(s uint32) [][]byte {
			return [][]byte{frame(1, 5, s, []byte("\x00\x01x\x01y"))}
		}, ReasonBadResponse, false},
		{"a frame where none may be", func(s uint32) [][]byte { return [][]byte{frame(0, 0, 0, []byte("data"))} },
			ReasonBadResponse, false},
		{"a large header", func(s uint32) [][]byte { return split(s, large) }, ReasonHeaderTooLarge, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := raw(t, frames(c.reply))
			p := acquire(t, registry(t, Config{}), Target{Address: o.addr, Protocol: H2C})
			req := request(t, "POST", nil)
			_, info, err := p.RoundTrip(req, Options{})
			if got := reason(t, err, SideUpstream); got != c.want {
				t.Errorf("got %v (%T), want %v", err, errors.Unwrap(err), c.want)
			}
			if info.Protocol != H2C || info.Answered {
				t.Errorf("info %+v", info)
			}
			if got := Retriable(err, info, req); got != c.retriable {
				t.Errorf("Retriable is %v", got)
			}
			if st := p.Stats(); st.InFlight != 0 || st.Failures[c.want] != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// split makes a header block HEADERS and CONTINUATION frames.
func split(stream uint32, block string) (all [][]byte) {
	kind, flags := byte(1), byte(1) // HEADERS, END_STREAM
	for {
		part := block[:min(len(block), 16<<10)]
		block = block[len(part):]
		if block == "" {
			flags |= 4 // END_HEADERS
		}
		all = append(all, frame(kind, flags, stream, []byte(part)))
		if block == "" {
			return all
		}
		kind, flags = 9, 0
	}
}

func TestHTTP2ToAServerOfHTTP1(t *testing.T) {
	p := acquire(t, registry(t, Config{}), Target{
		Address: raw(t, keepAnswering("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")).addr, Protocol: H2C,
	})
	_, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
	// Such a server refuses the preface; it may have closed before the request.
	if got := reason(t, err, SideUpstream); got != ReasonBadResponse && got != ReasonClosedBeforeResponse {
		t.Errorf("got %v", err)
	}
}

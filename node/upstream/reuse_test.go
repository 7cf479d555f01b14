package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestConnectionsAreReused(t *testing.T) {
	o := raw(t, keepAnswering(ok))
	p := pool(t, Config{}, o.addr)
	for i := range 50 {
		text, info := get(t, p, Options{})
		if text != "ok" || info.Reused != (i > 0) || (info.Dial > 0) != (i == 0) || info.Addr != o.addr ||
			!info.Answered || !info.BodySent || info.BodyTouched {
			t.Fatalf("request %d: %q %+v", i, text, info)
		}
	}
	if st := p.Stats(); o.accepted() != 1 || st.Open != 1 || st.Idle != 1 || st.InFlight != 0 || st.Dials != 1 || st.Failures != nil {
		t.Errorf("%d connections, %+v", o.accepted(), st)
	}
}

func TestTheConnectionUsedLastIsUsedNext(t *testing.T) {
	o := raw(t, func(n int, c net.Conn, r *bufio.Reader) {
		for answer(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"+string(rune('0'+n))) {
		}
	})
	p := pool(t, Config{}, o.addr)
	var bodies []*http.Response
	for range 3 {
		resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp)
	}
	if st := p.Stats(); st.Open != 3 || st.InFlight != 3 || st.Idle != 0 {
		t.Errorf("stats %+v", st)
	}
	read(t, bodies[2])
	read(t, bodies[0])
	last := read(t, bodies[1])
	if got, _ := get(t, p, Options{}); got != last {
		t.Errorf("served by connection %s, want %s", got, last)
	}
}

func TestBodyClosedEarlyCostsTheConnection(t *testing.T) {
	o := raw(t, keepAnswering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"))
	p := pool(t, Config{}, o.addr)
	resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	_ = resp.Body.Close() // a second time changes nothing
	if st := p.Stats(); st.Open != 0 || st.InFlight != 0 || st.Failures != nil {
		t.Errorf("stats %+v", st)
	}
}

func TestAnswersThatEndTheConnection(t *testing.T) {
	for name, text := range map[string]string{
		"connection close":  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"close, empty body": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"until the end":     "HTTP/1.0 200 OK\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, Config{}, raw(t, func(_ int, c net.Conn, r *bufio.Reader) { answer(c, r, text) }).addr)
			for range 3 {
				get(t, p, Options{})
			}
			if st := p.Stats(); st.Open != 0 || st.Dials != 3 || st.Failures != nil {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// Go's Transport repeats such a request by itself; here the caller decides.
func TestNothingIsSentTwiceUnasked(t *testing.T) {
	for _, c := range []struct {
		method    string
		body      io.Reader
		header    string
		retriable bool
	}{
		{method: "GET", retriable: true},
		{method: "HEAD", retriable: true},
		{method: "OPTIONS", retriable: true},
		{method: "TRACE", retriable: true},
		{method: "PUT", retriable: true},
		{method: "DELETE", retriable: true},
		{method: "POST"},
		{method: "PATCH"},
		{method: "POST", header: "Idempotency-Key"}, // what makes Transport send a POST again
		{method: "PUT", body: strings.NewReader("x")},
		{method: "GET", body: strings.NewReader("x")},
	} {
		t.Run(c.method+c.header, func(t *testing.T) {
			var asked atomic.Int32
			o := raw(t, func(n int, conn net.Conn, r *bufio.Reader) {
				for i := 0; ; i++ {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					asked.Add(1)
					if n == 1 && i == 1 {
						return // the reused connection dies of its second request
					}
					_, _ = io.WriteString(conn, ok)
				}
			})
			p := pool(t, Config{}, o.addr)
			get(t, p, Options{})
			req := request(t, c.method, c.body)
			if c.body != nil {
				req.TransferEncoding = []string{"chunked"}
			}
			if c.header != "" {
				req.Header.Set(c.header, "1")
			}
			_, info, err := p.RoundTrip(req, Options{})
			if got := reason(t, err, SideUpstream); got != ReasonClosedBeforeResponse && got != ReasonReset {
				t.Errorf("got %v", err)
			}
			if !info.Reused || info.Answered || info.BodyTouched != (c.body != nil) {
				t.Errorf("info %+v", info)
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("the upstream was asked %d times, want 2", n)
			}
			if got := Retriable(err, info, req); got != c.retriable {
				t.Errorf("Retriable is %v", got)
			}
			if _, info := get(t, p, Options{Fresh: true}); info.Reused {
				t.Error("not fresh")
			}
		})
	}
}

func TestFreshLeavesUnusedConnectionsAlone(t *testing.T) {
	p := pool(t, Config{}, raw(t, keepAnswering(ok)).addr)
	get(t, p, Options{})
	if _, info := get(t, p, Options{Fresh: true}); info.Reused {
		t.Error("reused")
	}
	if st := p.Stats(); st.Idle != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestConnectionClosedByTheUpstreamIsForgotten(t *testing.T) {
	closeIt := make(chan struct{})
	o := raw(t, func(n int, c net.Conn, r *bufio.Reader) {
		answer(c, r, ok)
		if n == 1 {
			<-closeIt
			return
		}
		_, _ = io.Copy(io.Discard, r)
	})
	p := pool(t, Config{}, o.addr)
	get(t, p, Options{})
	close(closeIt)
	eventually(t, "the pool forgets the connection", func() bool { st := p.Stats(); return st.Open == 0 && st.Idle == 0 })
	if _, info := get(t, p, Options{}); info.Reused {
		t.Error("reused")
	}
}

func TestUnusedConnectionsCloseInTime(t *testing.T) {
	closed := make(chan struct{})
	o := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		answer(c, r, ok)
		_, _ = r.ReadByte()
		close(closed)
	})
	p := pool(t, Config{IdleTimeout: 20 * time.Millisecond}, o.addr)
	get(t, p, Options{})
	happens(t, "the upstream sees the connection close", closed)
	eventually(t, "the pool forgets the connection", func() bool { return p.Stats().Open == 0 })
}

func TestUnusedConnectionsOverHTTP2CloseInTime(t *testing.T) {
	addr := cleartext(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, nil)
	p := acquire(t, registry(t, Config{IdleTimeout: 20 * time.Millisecond}), Target{Address: addr, Protocol: H2C})
	get(t, p, Options{})
	eventually(t, "the connection closes", func() bool { return p.Stats().Open == 0 })
}

func TestNoMoreThanMaxIdleAreKept(t *testing.T) {
	for max, want := range map[int]int{2: 2, -1: 0} {
		p := pool(t, Config{MaxIdle: max}, raw(t, keepAnswering(ok)).addr)
		var all []*http.Response
		for range 5 {
			resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, resp)
		}
		for _, resp := range all {
			read(t, resp)
		}
		if st := p.Stats(); st.Idle != want || st.Open != want {
			t.Errorf("MaxIdle %d: %+v", max, st)
		}
	}
}

func TestOldConnectionsAreNotReused(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }
	for _, target := range []Target{
		{Address: raw(t, keepAnswering(ok)).addr},
		{Address: cleartext(t, h, nil), Protocol: H2C},
	} {
		p := acquire(t, registry(t, Config{MaxAge: time.Nanosecond}), target)
		for range 3 {
			if _, info := get(t, p, Options{}); info.Reused {
				t.Error("reused")
			}
		}
		eventually(t, "no connection stays", func() bool {
			st := p.Stats()
			return st.Dials >= 3 && st.Open <= 1 // the last one over HTTP/2 goes at the next look
		})
	}
}

func TestPoolLivesAsLongAsItIsAcquired(t *testing.T) {
	o := raw(t, keepAnswering(ok))
	r := registry(t, Config{Linger: -1})
	first, err := r.Acquire(Target{Address: o.addr})
	if err != nil {
		t.Fatal(err)
	}
	get(t, first, Options{})
	second, err := r.Acquire(Target{Network: "tcp", Address: o.addr, Protocol: H1}) // the same, spelled out
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Fatal("equal targets have two pools")
	}
	first.Release()
	if _, info := get(t, second, Options{}); !info.Reused {
		t.Error("the connection did not survive the first release")
	}
	resp, _, err := second.RoundTrip(request(t, "GET", nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := second.RoundTrip(request(t, "GET", nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	read(t, other)
	second.Release()
	if st := second.Stats(); st.Open != 1 || st.Idle != 0 {
		t.Errorf("after the last release: %+v, want only the connection in use", st)
	}
	if all := r.Stats(); len(all) != 1 || all[0].InFlight != 1 {
		t.Errorf("a finishing pool is not seen: %+v", all)
	}
	if got := read(t, resp); got != "ok" {
		t.Errorf("got %q", got)
	}
	if st := second.Stats(); st.Open != 0 || st.InFlight != 0 {
		t.Errorf("after the last answer: %+v", st)
	}

	// A request that was about to be sent when the route went is still sent.
	if got, _ := get(t, second, Options{}); got != "ok" {
		t.Errorf("got %q", got)
	}
	if st := second.Stats(); st.Open != 0 {
		t.Errorf("a released pool keeps a connection: %+v", st)
	}
	if all := r.Stats(); len(all) != 0 {
		t.Errorf("left: %+v", all)
	}
	third := acquire(t, r, Target{Address: o.addr})
	if third == second || third.Stats().Dials != 0 {
		t.Error("a pool came back from the dead")
	}
}

func TestUnusedConnectionsOutliveTheirPool(t *testing.T) {
	o := raw(t, keepAnswering(ok))
	released := func(t *testing.T, c Config) (*Registry, *Pool) {
		r := registry(t, c)
		p, err := r.Acquire(Target{Address: o.addr})
		if err != nil {
			t.Fatal(err)
		}
		get(t, p, Options{})
		p.Release()
		return r, p
	}
	t.Run("for a while", func(t *testing.T) {
		r, p := released(t, Config{Linger: time.Hour})
		if st := p.Stats(); st.Open != 1 || st.Idle != 1 {
			t.Errorf("after the release: %+v, want the connection to be there", st)
		}
		if err := r.Close(t.Context()); err != nil || p.Stats().Open != 0 {
			t.Errorf("the end of the registry: %v, %+v", err, p.Stats())
		}
	})
	t.Run("and not longer", func(t *testing.T) {
		_, p := released(t, Config{Linger: 50 * time.Millisecond})
		eventually(t, "the connection closes", func() bool { return p.Stats().Open == 0 })
	})
	t.Run("nor longer than without the release", func(t *testing.T) {
		_, p := released(t, Config{IdleTimeout: 50 * time.Millisecond, Linger: time.Hour})
		eventually(t, "the connection closes", func() bool { return p.Stats().Open == 0 })
	})
}

func TestReleasedPoolOverHTTP2Finishes(t *testing.T) {
	proceed := make(chan struct{})
	addr := cleartext(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-proceed
		_, _ = io.WriteString(w, "ok")
	}, nil)
	p, err := registry(t, Config{}).Acquire(Target{Address: addr, Protocol: H2C})
	if err != nil {
		t.Fatal(err)
	}
	resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Release()
	close(proceed)
	if got := read(t, resp); got != "ok" {
		t.Errorf("got %q", got)
	}
	eventually(t, "the connection closes", func() bool { return p.Stats().Open == 0 })
	if got, _ := get(t, p, Options{}); got != "ok" {
		t.Errorf("a late request got %q", got)
	}
	eventually(t, "its connection closes", func() bool { return p.Stats().Open == 0 })
}

func TestAcquireRefuses(t *testing.T) {
	r := registry(t, Config{})
	for name, c := range map[string]struct {
		target Target
		names  string
	}{
		"nothing":            {Target{}, "address"},
		"no port":            {Target{Address: "host"}, "address"},
		"an empty port":      {Target{Address: "host:"}, "address"},
		"another network":    {Target{Network: "udp", Address: "host:1"}, "network"},
		"another protocol":   {Target{Address: "host:1", Protocol: "h3"}, "protocol"},
		"h2 without TLS":     {Target{Address: "host:1", Protocol: H2}, "h2"},
		"h2c with TLS":       {Target{Address: "host:1", Protocol: H2C, TLS: true}, "h2c"},
		"a name without TLS": {Target{Address: "host:1", ServerName: "x"}, "server name"},
		"a relative socket":  {Target{Network: "unix", Address: "x"}, "path of a socket"},
	} {
		if _, err := r.Acquire(c.target); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: got %v, want an error that names %q", name, err, c.names)
		}
	}
	if _, err := r.Acquire(Target{Network: "unix", Address: "/run/x"}); !errors.Is(err, ErrUnixNotAllowed) {
		t.Errorf("a socket: got %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	o := rawOn(t, ln, keepAnswering(ok))
	target, base := parse(t, "http+unix://"+strings.ReplaceAll(path, "/", "%2F")+"/base")
	if base.Path != "/base" || base.Host != "localhost" {
		t.Errorf("base %v", base)
	}
	p := acquire(t, registry(t, Config{AllowUnix: true}), target)
	for i := range 2 {
		text, info := get(t, p, Options{})
		if text != "ok" || info.Addr != path || info.Reused != (i > 0) {
			t.Errorf("%q %+v", text, info)
		}
	}
	if o.accepted() != 1 {
		t.Errorf("%d connections", o.accepted())
	}
}

func TestCloseLetsExchangesFinish(t *testing.T) {
	proceed := make(chan struct{})
	o := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		answer(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
		<-proceed
		_, _ = io.WriteString(c, "lf")
	})
	r := New(Config{})
	p, err := r.Acquire(Target{Address: o.addr})
	if err != nil {
		t.Fatal(err)
	}
	resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close(context.Background()) }()
	eventually(t, "the registry refuses", func() bool { _, err := r.Acquire(Target{Address: o.addr}); return errors.Is(err, ErrClosed) })
	_, _, err = p.RoundTrip(request(t, "GET", nil), Options{})
	if got := reason(t, err, SideNode); got != ReasonPoolClosed {
		t.Errorf("a new request: %v", err)
	}
	close(proceed)
	if got := read(t, resp); got != "half" {
		t.Errorf("got %q", got)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	p.Release()
	if err := r.Close(context.Background()); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestCloseCutsWhatTakesTooLong(t *testing.T) {
	silent := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		answer(c, r, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
		_, _ = io.Copy(io.Discard, c)
	})
	h2 := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, nil)
	never := blackHole(t)

	r := New(Config{Timeouts: Timeouts{Connect: -1}})
	var wg sync.WaitGroup
	var streaming sync.WaitGroup
	for _, target := range []Target{{Address: silent.addr}, {Address: h2, Protocol: H2C}} {
		p, err := r.Acquire(target)
		if err != nil {
			t.Fatal(err)
		}
		streaming.Add(1)
		wg.Go(func() {
			resp, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
			streaming.Done()
			if err != nil {
				t.Error(err)
				return
			}
			_, err = io.ReadAll(resp.Body)
			if got := reason(t, err, SideNode); got != ReasonPoolClosed {
				t.Errorf("%v: %v", target, err)
			}
			_ = resp.Body.Close()
		})
	}
	for _, target := range []Target{{Address: never}, {Address: never, Protocol: H2C}} {
		p, err := r.Acquire(target)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			_, _, err := p.RoundTrip(request(t, "GET", nil), Options{})
			if got := reason(t, err, SideNode); got != ReasonPoolClosed {
				t.Errorf("%v: %v", target, err)
			}
		})
		eventually(t, "it is connecting", func() bool { return p.Stats().Dials == 1 })
	}
	streaming.Wait()
	gaveUp := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(gaveUp)
	if err := r.Close(ctx); !errors.Is(err, gaveUp) {
		t.Errorf("Close: %v", err)
	}
	for _, st := range r.Stats() {
		if st.Open != 0 {
			t.Errorf("open after Close: %+v", st)
		}
	}
	wg.Wait()
}

// Many goroutines, pools coming and going, connections dying: nothing may be
// lost, counted twice or left behind.
func TestManyAtOnce(t *testing.T) {
	o := raw(t, func(n int, c net.Conn, r *bufio.Reader) {
		for i := 0; i < 1+n%7 && answer(c, r, ok); i++ {
		}
	})
	r := registry(t, Config{MaxIdle: 4})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				p, err := r.Acquire(Target{Address: o.addr})
				if err != nil {
					t.Error(err)
					return
				}
				req := request(t, "GET", nil)
				resp, info, err := p.RoundTrip(req, Options{})
				if err != nil && Retriable(err, info, req) {
					resp, _, err = p.RoundTrip(req, Options{Fresh: true})
				}
				if err != nil {
					t.Error(err)
				} else if got := read(t, resp); got != "ok" {
					t.Errorf("got %q", got)
				}
				p.Release()
			}
		})
	}
	wg.Wait()
	eventually(t, "all connections close", func() bool { return len(r.Stats()) == 0 })
}

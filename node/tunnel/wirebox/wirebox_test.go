package wirebox_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/node/certfile/certtest"
	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/wirebox"
	"signalbox/proto/tunnelurl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// end is a server on a port of its own, and what it says.
type end struct {
	*wirebox.Server
	addr string
	mu   sync.Mutex
	said []string
}

func (e *end) log(_ slog.Level, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said = append(e.said, text)
}

// certificate returns one that nobody knows.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	signer := certtest.New(t)
	signer.Make("tunnel", 2)
	return signer.Pair("tunnel")
}

func config(receives tunnelurl.Role) link.Config {
	return link.Config{Secret: "a key of this test", Receives: receives}
}

// serve runs a server until the test ends.
func serve(t *testing.T, c link.Config) *end {
	t.Helper()
	e := &end{}
	c.Log = e.log
	if c.Certificate == nil {
		cert := certificate(t)
		c.Certificate = func() (*tls.Certificate, error) { return &cert, nil }
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.Server, e.addr = wirebox.NewServer(c), l.Addr().String()
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { e.Handle(context.WithoutCancel(t.Context()), link.NewConn(conn)) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		e.Close()
		work.Wait()
	})
	return e
}

// to is what a client needs to know of a server.
func (e *end) to(c link.Config) link.Config {
	c.Log = e.log
	c.Dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", e.addr)
	}
	return c
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// pair returns both ends of a session: the one that opens, and the one that
// accepts.
func pair(t *testing.T, receives tunnelurl.Role) (opens, accepts link.Session) {
	t.Helper()
	e := serve(t, config(receives))
	client, err := wirebox.Dial(bounded(t), e.to(config("")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server := <-e.Sessions()
	if client.Receives() != receives || server.Receives() != receives {
		t.Fatalf("users come in at %s and %s", client.Receives(), server.Receives())
	}
	if receives == tunnelurl.Client {
		return client, server
	}
	return server, client
}

// open opens a stream and returns it with what the other end is asked.
func open(t *testing.T, opens, accepts link.Session, kind link.Kind) (link.Stream, *link.Request) {
	t.Helper()
	ctx := bounded(t)
	asked := make(chan *link.Request, 1)
	go func() {
		r, err := accepts.Accept(ctx)
		if err != nil {
			t.Errorf("accept: %v", err)
			close(asked)
			return
		}
		r.Answer(nil)
		asked <- r
	}()
	s, err := opens.Open(ctx, kind, "192.0.2.1:1234")
	if err != nil {
		t.Fatal(err)
	}
	return s, <-asked
}

func ends(t *testing.T, name string, test func(t *testing.T, receives tunnelurl.Role)) {
	t.Helper()
	for _, receives := range []tunnelurl.Role{tunnelurl.Server, tunnelurl.Client} {
		t.Run(name+", users at the "+string(receives), func(t *testing.T) { test(t, receives) })
	}
}

func TestStreamsCarryConnections(t *testing.T) {
	ends(t, "bytes and both ends of them", func(t *testing.T, receives tunnelurl.Role) {
		opens, accepts := pair(t, receives)
		s, r := open(t, opens, accepts, link.TCP)
		if r.Kind != link.TCP || r.User != "192.0.2.1:1234" {
			t.Errorf("asked for %v of %s", r.Kind, r.User)
		}
		much := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // more than a window
		go func() {
			_, _ = s.Write(much)
			_ = s.CloseWrite()
		}()
		got, err := io.ReadAll(r.Stream)
		if err != nil || !bytes.Equal(got, much) {
			t.Fatalf("%d bytes came, %v", len(got), err)
		}
		// The other direction goes on after the first has ended.
		go func() {
			_, _ = r.Stream.Write(much)
			_ = r.Stream.CloseWrite()
		}()
		if got, err = io.ReadAll(s); err != nil || !bytes.Equal(got, much) {
			t.Fatalf("%d bytes came back, %v", len(got), err)
		}
		_, _ = s.Close(), r.Stream.Close()
	})
	t.Run("a target that cannot be reached is told of", func(t *testing.T) {
		opens, accepts := pair(t, tunnelurl.Server)
		go func() {
			r, err := accepts.Accept(context.WithoutCancel(t.Context()))
			if err == nil {
				r.Answer(errors.New("connection refused"))
			}
		}()
		if _, err := opens.Open(bounded(t), link.TCP, ""); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%v", err)
		}
	})
	t.Run("one that is closed is not finished", func(t *testing.T) {
		opens, accepts := pair(t, tunnelurl.Server)
		s, r := open(t, opens, accepts, link.TCP)
		if _, err := s.Write([]byte("half of it")); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		if got, err := io.ReadAll(r.Stream); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("whoever writes hears that nobody reads, also behind the end of the other direction", func(t *testing.T) {
		opens, accepts := pair(t, tunnelurl.Server)
		s, r := open(t, opens, accepts, link.TCP)
		_ = s.CloseWrite()
		if _, err := io.ReadAll(r.Stream); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		for {
			if _, err := r.Stream.Write(make([]byte, 1000)); err != nil {
				break // or the test hangs
			}
		}
		_ = r.Stream.Close()
	})
	t.Run("closing ends a write that waits", func(t *testing.T) {
		opens, accepts := pair(t, tunnelurl.Server)
		s, r := open(t, opens, accepts, link.TCP)
		wrote := make(chan error, 1)
		go func() {
			_, err := s.Write(make([]byte, 16<<20)) // nobody reads
			wrote <- err
		}()
		var b [1]byte
		_, _ = io.ReadFull(r.Stream, b[:])
		_ = s.Close()
		if err := <-wrote; err == nil {
			t.Error("it was written")
		}
	})
}

func TestDatagramsStayWhole(t *testing.T) {
	opens, accepts := pair(t, tunnelurl.Client)
	s, r := open(t, opens, accepts, link.UDP)
	if r.Kind != link.UDP {
		t.Errorf("asked for %v", r.Kind)
	}
	for _, size := range []int{0, 1, 1187, 9000, link.MaxDatagram} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := s.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, link.MaxDatagram)
		n, err := r.Stream.Read(got)
		if err != nil || !bytes.Equal(got[:n], sent) {
			t.Fatalf("of %d bytes came %d, %v", size, n, err)
		}
	}
	if _, err := r.Stream.Write(make([]byte, link.MaxDatagram+1)); err == nil {
		t.Error("one was taken that is longer than there are")
	}
	// One that is read into less is cut, and the next is whole again.
	_, _ = s.Write([]byte("long"))
	_, _ = s.Write([]byte("next"))
	short, next := make([]byte, 2), make([]byte, 10)
	n, err := r.Stream.Read(short)
	if string(short[:n]) != "lo" || err != nil {
		t.Errorf("%q, %v", short[:n], err)
	}
	if n, err = r.Stream.Read(next); string(next[:n]) != "next" || err != nil {
		t.Errorf("%q, %v", next[:n], err)
	}
	_ = s.Close()
	if _, err := r.Stream.Read(next); err == nil {
		t.Error("a closed one goes on")
	}
}

func TestManyClientsShareOnePort(t *testing.T) {
	e := serve(t, config(tunnelurl.Client))
	var clients []link.Session
	for range 20 {
		c, err := wirebox.Dial(bounded(t), e.to(config("")))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
		server := <-e.Sessions()
		s, r := open(t, c, server, link.TCP)
		_, _ = s.Write([]byte("x"))
		var b [1]byte
		if _, err := io.ReadFull(r.Stream, b[:]); err != nil || b[0] != 'x' {
			t.Errorf("%q, %v", b, err)
		}
	}
	for _, c := range clients {
		if c.Err() != nil {
			t.Errorf("one was ended by another: %v", c.Err())
		}
	}
}

func TestWhoHasNotTheKeyIsRefused(t *testing.T) {
	e := serve(t, config(tunnelurl.Server))
	other := config("")
	other.Secret = "another"
	_, err := wirebox.Dial(bounded(t), e.to(other))
	var refused *wirebox.RefusedError
	if !errors.As(err, &refused) || refused.Reason != "the key is another" {
		t.Errorf("%v", err)
	}
	t.Run("and a server that has not is left", func(t *testing.T) {
		// One in the middle, that has a certificate of its own and passes on
		// what both say.
		between := interceptor(t, e.addr)
		c := e.to(config(""))
		c.Dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", between)
		}
		if s, err := wirebox.Dial(bounded(t), c); err == nil {
			t.Error("a connection that somebody reads is taken")
			_ = s.Close()
		}
	})
	t.Run("users come in where one of them insists", func(t *testing.T) {
		if _, err := wirebox.Dial(bounded(t), e.to(config(tunnelurl.Client))); !errors.As(err, &refused) {
			t.Errorf("%v", err)
		}
	})
}

// interceptor ends TLS on both sides and passes on what is in it.
func interceptor(t *testing.T, server string) string {
	t.Helper()
	cert := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	work.Go(func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		up, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer up.Close()
		line := make([]byte, len(wirebox.Line)+1)
		for _, way := range [][2]net.Conn{{client, up}, {up, client}} {
			_, _ = io.ReadFull(way[0], line)
			_, _ = way[1].Write(line)
		}
		protocols := []string{"signalbox-tunnel"}
		inner := tls.Server(client, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protocols}) //nolint:gosec // a test
		outer := tls.Client(up, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})                  //nolint:gosec // a test
		work.Go(func() { _, _ = io.Copy(inner, outer); _ = client.Close() })
		_, _ = io.Copy(outer, inner)
	})
	return l.Addr().String()
}

func TestStrangersAreToldApart(t *testing.T) {
	answers := map[string]string{
		"a server of HTTP":        "HTTP/1.1 400 Bad Request\r\n\r\n",
		"one that hangs up":       "",
		"one that says something": "220 mail.example ESMTP\r\n",
	}
	for name, says := range answers {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, says)
				_ = conn.Close()
			}()
			e := end{addr: l.Addr().String()}
			if _, err := wirebox.Dial(bounded(t), e.to(config(""))); !errors.Is(err, wirebox.ErrForeign) {
				t.Errorf("%v", err)
			}
			_ = l.Close()
			<-done
		})
	}
}

func TestAPeerThatIsGoneIsNoticed(t *testing.T) {
	opens, accepts := pair(t, tunnelurl.Server)
	s, _ := open(t, opens, accepts, link.TCP)
	_ = accepts.Close()
	<-opens.Done()
	if err := opens.Err(); !errors.Is(err, link.ErrEnded) {
		t.Errorf("it ended by %v", err)
	}
	if err := accepts.Err(); err != nil {
		t.Errorf("one that was closed here ended by %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("its streams go on")
	}
	if _, err := opens.Open(bounded(t), link.TCP, ""); !errors.Is(err, link.ErrEnded) {
		t.Errorf("a stream was opened: %v", err)
	}
	if _, err := opens.Accept(bounded(t)); !errors.Is(err, link.ErrEnded) {
		t.Errorf("a stream was accepted: %v", err)
	}
}

// A frozen peer keeps its connection open, and says nothing.
func TestAPeerThatIsSilentIsNoticed(t *testing.T) {
	e := serve(t, config(tunnelurl.Server))
	var conn *holding
	c := e.to(config(""))
	dial := c.Dial
	c.Dial = func(ctx context.Context) (net.Conn, error) {
		inner, err := dial(ctx)
		conn = &holding{Conn: inner}
		return conn, err
	}
	client, err := wirebox.Dial(bounded(t), c)
	if err != nil {
		t.Fatal(err)
	}
	server := <-e.Sessions()
	conn.hold.Lock() // nothing is written any more
	<-server.Done()
	if err := server.Err(); err == nil || !strings.Contains(err.Error(), "nothing was heard") && !strings.Contains(err.Error(), "closed") {
		t.Errorf("it ended by %v", err)
	}
	conn.hold.Unlock()
	_ = client.Close()
}

// A connection that takes nothing is waited for no longer than the user is.
func TestOpenEndsWithItsContextOnAConnectionThatTakesNothing(t *testing.T) {
	e := serve(t, config(tunnelurl.Client))
	var conn *holding
	c := e.to(config(""))
	dial := c.Dial
	c.Dial = func(ctx context.Context) (net.Conn, error) {
		inner, err := dial(ctx)
		conn = &holding{Conn: inner}
		return conn, err
	}
	client, err := wirebox.Dial(bounded(t), c)
	if err != nil {
		t.Fatal(err)
	}
	server := <-e.Sessions()
	conn.hold.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var users sync.WaitGroup
	for range 500 { // more than the peer need take at once
		users.Go(func() {
			if _, err := client.Open(ctx, link.TCP, ""); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("opening ended by %v", err)
			}
		})
	}
	users.Wait()
	select {
	case <-server.Done():
		t.Error("opening ended with the session only")
	default:
	}
	conn.hold.Unlock()
	_ = client.Close()
}

// A holding connection writes only while its lock is free.
type holding struct {
	net.Conn
	hold sync.Mutex
}

func (h *holding) Write(p []byte) (int, error) {
	h.hold.Lock()
	defer h.hold.Unlock()
	return h.Conn.Write(p)
}

func TestTheCertificateIsVerifiedWhereTheServerSaysSo(t *testing.T) {
	c := config(tunnelurl.Server)
	c.TLS = tunnelurl.Verified
	signer := certtest.New(t)
	signer.Make("tunnel", 2)
	cert := signer.Pair("tunnel")
	c.Certificate = func() (*tls.Certificate, error) { return &cert, nil }
	e := serve(t, c)
	client := e.to(config(""))
	client.ServerName = "localhost"
	if _, err := wirebox.Dial(bounded(t), client); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("one that nobody signed is taken: %v", err)
	}
	client.Roots = signer.Pool
	s, err := wirebox.Dial(bounded(t), client)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	client.ServerName = "another.test"
	if _, err := wirebox.Dial(bounded(t), client); err == nil || !strings.Contains(err.Error(), "another.test") {
		t.Errorf("one for another name is taken: %v", err)
	}
}

// Whatever a stranger sends, the server goes on with others.
func FuzzServer(f *testing.F) {
	f.Add([]byte("signalbox/1\n\x16\x03\x01"))
	f.Add([]byte("signalbox/2\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	cert := certificate(f)
	c := config(tunnelurl.Server)
	c.Certificate = func() (*tls.Certificate, error) { return &cert, nil }
	c.Log = func(slog.Level, string) {}
	s := wirebox.NewServer(c)
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Handle(t.Context(), link.NewConn(here))
		}()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		_, _ = there.Write(b)
		_ = there.Close()
		<-done
		select {
		case <-s.Sessions():
			t.Fatal("a session without the key")
		default:
		}
	})
}

func TestNothingSecretIsLogged(t *testing.T) {
	e := serve(t, config(tunnelurl.Server))
	other := config("")
	other.Secret = "another secret"
	_, _ = wirebox.Dial(bounded(t), e.to(other))
	e.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.ContainsFunc(e.said, func(s string) bool { return strings.Contains(s, "secret") || strings.Contains(s, "a key of this test") }) {
		t.Errorf("the log says %q", e.said)
	}
}

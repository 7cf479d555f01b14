package wire4

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// pair is a server and a client of ours, with each other.
func pair(t *testing.T, cfg link.Config) (server, client link.Session) {
	t.Helper()
	s, addr := serve(t, cfg)
	cfg.Dial = dialTo(addr)
	client = dialled(t, cfg)
	return next(t, s), client
}

func TestAClientKeepsItsPoolFilled(t *testing.T) {
	for _, c := range []struct{ least, most, want int }{{5, 20, 5}, {0, 0, 1}, {-1, 3, 1}, {7, 2, 7}} {
		cfg := config(t, tunnelurl.Server, tunnelurl.Plain)
		cfg.Min, cfg.Max = c.least, c.most
		server, client := pair(t, cfg)
		full := func() bool { return server.Stats().Pool == c.want && client.Stats().Pool == c.want }
		eventually(t, fmt.Sprintf("%d connections", c.want), full)
		exit(t, client)
		entry(t, server)
		eventually(t, "as many again", func() bool { return client.Stats().Pool >= c.want })
		if n := client.Stats().Pool; n > max(c.most, c.want) {
			t.Errorf("%d to %d: %d connections", c.least, c.most, n)
		}
	}
}

// Many more users come at once than there are connections, and none of them
// waits for the next beat.
func TestABurstOfUsersIsServed(t *testing.T) {
	for _, receives := range []tunnelurl.Role{tunnelurl.Server, tunnelurl.Client} {
		cfg := config(t, receives, tunnelurl.Plain)
		cfg.Min, cfg.Max = 1, 8
		in, out := pair(t, cfg)
		if receives == tunnelurl.Client {
			in, out = out, in
		}
		exit(t, out)
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		var users sync.WaitGroup
		for range 50 {
			users.Go(func() {
				c, err := in.Open(ctx, link.TCP, "")
				if err != nil {
					t.Error(err)
					return
				}
				askTCP(t, c, 100)
				_ = c.Close()
			})
		}
		udp, err := in.Open(ctx, link.UDP, "")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if _, err := fmt.Fprintf(udp, "datagram %d", i); err != nil {
				t.Error(err)
			}
		}
		seen, p := map[string]bool{}, make([]byte, 100)
		for range 50 {
			n, err := udp.Read(p)
			if err != nil || seen[string(p[:n])] {
				t.Fatalf("%q, %v", p[:n], err)
			}
			seen[string(p[:n])] = true
		}
		_ = udp.Close()
		users.Wait()
		if n := in.Stats().Pool; n > 8 {
			t.Errorf("%d connections", n)
		}
	}
}

func TestAFlushBeginsThePoolAnew(t *testing.T) {
	ln := listen(t)
	cfg := config(t, "", 0)
	cfg.Min, cfg.Dial = 3, dialTo(ln.Addr().String())
	made := make(chan *foreign, 1)
	go func() { made <- foreignServer(t, ln, tunnelurl.Server, tunnelurl.Plain) }()
	session := dialled(t, cfg)
	f := <-made
	exit(t, session)
	var old []string
	for range 3 {
		old = append(old, <-f.idle)
	}
	eventually(t, "a full pool", func() bool { return session.Stats().Pool == 3 })
	f.say(0x25, 0x36, 0x0a)
	for _, id := range old {
		closed(t, f.get(id))
	}
	f.entry()
}

func TestCloseEndsEverything(t *testing.T) {
	cfg := config(t, tunnelurl.Server, tunnelurl.SelfSigned)
	server, client := pair(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	near, err := server.Open(ctx, link.TCP, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.Answer(nil)
	udp, err := server.Open(ctx, link.UDP, "")
	if err != nil {
		t.Fatal(err)
	}
	reads := make(chan error, 3)
	for _, c := range []io.Reader{near, r.Stream, udp} {
		go func() {
			_, err := c.Read(make([]byte, 1))
			reads <- err
		}()
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := client.Accept(ctx)
		accepted <- err
	}()
	_ = server.Close()
	if err := server.Err(); err != nil {
		t.Errorf("Close is an error: %v", err)
	}
	for range 3 {
		if err := <-reads; err == nil {
			t.Error("a stream goes on")
		}
	}
	if why := ending(t, client); !strings.Contains(why, "closed the control connection") {
		t.Errorf("the client's session ended because %s", why)
	}
	if err := <-accepted; !errors.Is(err, link.ErrEnded) {
		t.Errorf("Accept: %v", err)
	}
	for _, s := range []link.Session{server, client} {
		if _, err := s.Accept(ctx); !errors.Is(err, link.ErrEnded) {
			t.Errorf("Accept: %v", err)
		}
	}
	for _, kind := range []link.Kind{link.TCP, link.UDP} {
		if _, err := server.Open(ctx, kind, ""); !errors.Is(err, link.ErrEnded) {
			t.Errorf("Open of %s: %v", kind, err)
		}
	}
	if _, err := udp.Write([]byte("x")); !errors.Is(err, link.ErrEnded) {
		t.Errorf("Write: %v", err)
	}
}

// Streams outlive the control connection, until whoever has the session closes
// it.
func TestAStreamOutlivesItsControlConnection(t *testing.T) {
	s, addr := serve(t, config(t, tunnelurl.Server, tunnelurl.Plain))
	f := foreignClient(t, addr, tunnelurl.Server, tunnelurl.Plain, 1)
	session := next(t, s)
	c, err := session.Open(t.Context(), link.TCP, "")
	if err != nil {
		t.Fatal(err)
	}
	_ = f.control.Close()
	ending(t, session)
	f.running.Go(func() { target(f.get(<-f.idle), "#1") })
	askTCP(t, c, 1000)
}

func TestUsersWaitForAConnectionUntilTheirContextEnds(t *testing.T) {
	s, addr := serve(t, config(t, tunnelurl.Server, tunnelurl.Plain))
	f := foreignHandshake(t, addr, tunnelurl.Server, tunnelurl.Plain)
	f.exit()
	session := next(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the user has gone")
	got := make(chan error, 1)
	go func() {
		_, err := session.Open(ctx, link.TCP, "")
		got <- err
	}()
	eventually(t, "a user who waits", func() bool { return waiting(session) == 1 })
	cancel(why)
	if err := <-got; !errors.Is(err, why) {
		t.Errorf("Open: %v", err)
	}
	works(t, session, f, addr) // the connection is the next one's
}

func TestDatagramsThatCannotBeCarriedWholeAreErrorsAndTheStreamGoesOn(t *testing.T) {
	in, out := pair(t, config(t, tunnelurl.Server, tunnelurl.SelfSigned))
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	udp, err := in.Open(ctx, link.UDP, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	tooLong := func(w io.Writer) {
		t.Helper()
		if _, err := w.Write(noise(8193)); err == nil || !strings.Contains(err.Error(), "8192") {
			t.Errorf("8193 bytes: %v", err)
		}
		if _, err := w.Write(nil); err == nil {
			t.Error("no bytes can be written")
		}
	}
	tooLong(udp)
	if _, err := udp.Write(noise(8192)); err != nil {
		t.Fatal(err)
	}
	r, err := out.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != link.UDP || r.User != "" {
		t.Errorf("%s of %q", r.Kind, r.User)
	}
	p := make([]byte, link.MaxDatagram)
	if n, err := r.Stream.Read(p); n != 8192 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	r.Answer(nil)
	tooLong(r.Stream)
	if _, err := r.Stream.Write(noise(8192)); err != nil {
		t.Error(err)
	}
	if _, err := r.Stream.Write(noise(10)); err == nil {
		t.Error("there are two answers")
	}
	if n, err := udp.Read(p); n != 8192 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestATargetThatWasNotReachedClosesTheStream(t *testing.T) {
	in, out := pair(t, config(t, tunnelurl.Client, tunnelurl.Plain))
	in, out = out, in
	c, err := in.Open(t.Context(), link.TCP, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := out.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Answer(errors.New("refused"))
	if got := closed(t, c.(*stream).Conn); got != "" {
		t.Errorf("%q", got)
	}
}

func TestUsersComeInAtOneEndOnly(t *testing.T) {
	_, out := pair(t, config(t, tunnelurl.Server, tunnelurl.Plain))
	if _, err := out.Open(t.Context(), link.TCP, ""); err == nil || errors.Is(err, link.ErrEnded) {
		t.Error(err)
	}
}

func TestAClientSaysWhyItCannotConnect(t *testing.T) {
	one := func(answer string) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				_, _ = io.ReadFull(far, make([]byte, 7))
				_, _ = far.Write([]byte(answer))
				_ = far.Close()
			}()
			return near, nil
		}
	}
	for answer, want := range map[string]string{
		"":              "its key is another one",
		"21d105dd":      "it has a client at this address",
		"HTTP/1.1 400":  "another wire",
		"))+%6\n":       "control connection",
		"))+":           "unexpected EOF",
		")) $6\n......": "another wire",
	} {
		cfg := config(t, "", 0)
		cfg.Dial = one(answer)
		if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", answer, err, want)
		}
	}
}

func TestAServerThatCannotBeVerifiedIsRefused(t *testing.T) {
	cfg := config(t, tunnelurl.Server, tunnelurl.Verified)
	_, addr := serve(t, cfg)
	cfg.Dial = dialTo(addr)
	other := config(t, tunnelurl.Server, tunnelurl.Verified)
	cfg.Roots = other.Roots
	var bad *tls.CertificateVerificationError
	if _, err := Dial(t.Context(), cfg); !errors.As(err, &bad) {
		t.Errorf("with other roots: %v", err)
	}
	cfg.ServerName = "other.test"
	if _, err := Dial(t.Context(), cfg); !errors.As(err, &bad) {
		t.Errorf("with another name: %v", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	ln := listen(t) // nobody accepts
	cfg := config(t, "", 0)
	cfg.Dial = dialTo(ln.Addr().String())
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("not wanted any more")
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := ln.Accept()
		cancel(why)
		accepted <- c
	}()
	if _, err := Dial(ctx, cfg); !errors.Is(err, why) {
		t.Errorf("Dial: %v", err)
	}
	_ = (<-accepted).Close()
}

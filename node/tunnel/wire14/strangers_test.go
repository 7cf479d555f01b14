package wire14

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// began is a server of ours with a foreign client that has n pool connections.
func began(t *testing.T, cfg link.Config, n int) (s *Server, addr string, f *foreign, session link.Session) {
	t.Helper()
	s, addr = serve(t, cfg)
	f = foreignClient(t, addr, cfg.Receives, cfg.TLS, n)
	session = next(t, s)
	if cfg.TLS == tunnelurl.Plain {
		eventually(t, "pool connections", func() bool { return session.Stats().Pool == n })
	}
	return s, addr, f, session
}

func TestAConnectionThatTalksBeforeItsTurnIsDropped(t *testing.T) {
	_, _, f, session := began(t, config(t, tunnelurl.Server, tunnelurl.Plain), 2)
	id, c := f.free()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "fewer connections", func() bool { return session.Stats().Pool == 1 })
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("the connection %s was used", id)
	}
	st, err := session.Open(t.Context(), link.TCP, user)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	askTCP(t, st, 9)
}

func TestAConnectionThatEndsIsDropped(t *testing.T) {
	_, _, f, session := began(t, config(t, tunnelurl.Server, tunnelurl.Plain), 2)
	_, c := f.free()
	_ = c.Close()
	eventually(t, "fewer connections", func() bool { return session.Stats().Pool == 1 })
	st, err := session.Open(t.Context(), link.TCP, user)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	askTCP(t, st, 9)
}

func TestASecondClientAtTheSameAddressIsRefusedWhileTheFirstLives(t *testing.T) {
	cfg, log := config(t, tunnelurl.Server, tunnelurl.Plain), newLines()
	cfg.Log = log.add
	_, addr, _, session := began(t, cfg, 12)
	if got := told(t, addr, asking); !strings.HasPrefix(got, "HTTP/1.1 409 Conflict\r\n") {
		t.Errorf("%q", got)
	}
	log.wait(t, "a client at the same address is connected")
	cfg.Dial = dialTo(addr)
	if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "has a client at this address") {
		t.Error(err)
	}
	entry(t, session)
}

func TestClientsAtDifferentAddressesHaveSessionsOfTheirOwn(t *testing.T) {
	cfg := config(t, tunnelurl.Client, tunnelurl.SelfSigned)
	s, addr := serve(t, cfg)
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		cfg.Dial = dialFrom(ip, addr)
		client := dialled(t, cfg)
		server := next(t, s)
		if got, _, _ := net.SplitHostPort(server.Peer().String()); got != ip {
			t.Errorf("the peer is at %s, want %s", got, ip)
		}
		exit(t, server)
		t.Run(ip, func(t *testing.T) { entry(t, client) })
	}
}

// Those who say nothing take nobody's place.
func TestSilentConnectionsDoNotKeepAnybodyWaiting(t *testing.T) {
	cfg := config(t, tunnelurl.Server, tunnelurl.SelfSigned)
	s, addr := serve(t, cfg)
	for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		for range 20 {
			c, err := dialFrom(ip, addr)(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	f := foreignClient(t, addr, cfg.Receives, cfg.TLS, 12)
	f.prove()
	entry(t, next(t, s))
}

func TestAClientThatWasRestartedIsServedAtOnce(t *testing.T) {
	s, addr, f, session := began(t, config(t, tunnelurl.Server, tunnelurl.Plain), 2)
	f.close()
	foreignClient(t, addr, tunnelurl.Server, tunnelurl.Plain, 12)
	if got := ending(t, session); !strings.Contains(got, "control connection") {
		t.Error(got)
	}
	if _, err := session.Open(t.Context(), link.TCP, user); !errors.Is(err, link.ErrEnded) {
		t.Error(err)
	}
	entry(t, next(t, s))
}

func TestSessionsEndWithWhatIsNoSignal(t *testing.T) {
	_, _, f, session := began(t, config(t, tunnelurl.Server, tunnelurl.Plain), 1)
	if _, err := io.WriteString(f.control, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if got := ending(t, session); !strings.Contains(got, "no signal") {
		t.Error(got)
	}
}

func TestAnEndWithAnotherCertificateIsFoundOut(t *testing.T) {
	_, _, f, session := began(t, config(t, tunnelurl.Server, tunnelurl.SelfSigned), 3)
	<-f.proven
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := session.Open(ctx, link.TCP, user); err == nil || !strings.Contains(err.Error(), "compare certificates") {
		t.Errorf("users are let in already: %v", err)
	}
	id, _ := f.free()
	f.say(`{"action":"verify","id":"` + id + `","fp":"sha256:00"}`)
	if got := ending(t, session); !strings.Contains(got, "somebody stands between") {
		t.Error(got)
	}
}

// The word that a connection is used, and what is sent on it, go different ways.
func TestAUserWhoEndsAtOnceIsServed(t *testing.T) {
	_, _, f, session := began(t, config(t, tunnelurl.Client, tunnelurl.Plain), 3)
	exit(t, session)
	for _, early := range []string{"", "hello"} {
		id, c := f.free()
		if _, err := io.WriteString(c, early); err != nil {
			t.Fatal(err)
		}
		if err := c.(conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		f.say(`{"action":"tcp","remote":"` + user + `","id":"` + id + `"}`)
		if got, err := io.ReadAll(c); err != nil || string(got) != early {
			t.Errorf("%q came back, %v", got, err)
		}
	}
}

// A datagram of which the first byte was read before it was known to be one is
// in one piece all the same.
func TestADatagramThatCameEarlyIsWhole(t *testing.T) {
	for _, code := range theirs {
		_, _, f, session := began(t, config(t, tunnelurl.Client, code), 3)
		exit(t, session)
		if code != tunnelurl.Plain {
			<-f.proven
		}
		id, c := f.free()
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		_, d := f.free() // over after that has come
		_ = d.Close()
		f.say(`{"action":"udp","remote":"` + user + `","id":"` + id + `"}`)
		p := make([]byte, 100)
		if n, err := c.Read(p); err != nil || string(p[:n]) != "HELLO" {
			t.Errorf("%q, %v", p[:n], err)
		}
		askUDP(t, c, 9)
	}
}

func TestDatagramsThatDoNotFitAreRefusedAndTheOthersGoOn(t *testing.T) {
	cfg := config(t, tunnelurl.Server, tunnelurl.SelfSigned)
	s, addr := serve(t, cfg)
	cfg.Dial = dialTo(addr)
	exit(t, dialled(t, cfg))
	udp, err := next(t, s).Open(t.Context(), link.UDP, user)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	for _, size := range []int{0, longest + 1, link.MaxDatagram} {
		if _, err := udp.Write(make([]byte, size)); err == nil || !strings.Contains(err.Error(), "cannot be carried") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if err := udp.CloseWrite(); err != nil {
		t.Error(err)
	}
	askUDP(t, udp, 9)
}

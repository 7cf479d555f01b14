package wire4

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

// from connects to addr from another address of this machine.
func from(t *testing.T, ip, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// closed reads until the peer closes, and returns what came before.
func closed(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	b, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("it was not closed")
	}
	return string(b)
}

// eventually waits for what no event tells.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick, timeout := time.NewTicker(time.Millisecond), time.After(within)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("never came: " + what)
		}
	}
}

// works asks a target through a foreign client.
func works(t *testing.T, session link.Session, f *foreign, addr string) {
	t.Helper()
	f.open(addr, tunnelurl.Plain)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c, err := session.Open(ctx, link.TCP, "")
	if err != nil {
		t.Fatal(err)
	}
	askTCP(t, c, 10)
	_ = c.Close()
}

func TestAWrongKeyIsClosedAtOnceAndSaid(t *testing.T) {
	for _, wrong := range []string{"secreT", "secret2", "sec", "", strings.Repeat("x", 10_000), "GET / HTTP/1.1\r\n\r\n"} {
		cfg, log := config(t, tunnelurl.Server, tunnelurl.Plain), newLines()
		cfg.Log = log.add
		_, addr := serve(t, cfg)
		c := from(t, "127.0.0.1", addr)
		_, _ = c.Write(append(six(wrong), '\n'))
		if got := closed(t, c); got != "" {
			t.Errorf("%.10q is answered %q", wrong, got)
		}
		log.wait(t, "its key is another one")
		if log.has("secre") {
			t.Errorf("a key is in the log: %q", log.all)
		}
	}
}

func TestManyWrongKeysMakeFewLines(t *testing.T) {
	cfg, log := config(t, tunnelurl.Server, tunnelurl.Plain), newLines()
	cfg.Log = log.add
	_, addr := serve(t, cfg)
	begun := time.Now()
	for range 100 {
		c := from(t, "127.0.0.1", addr)
		_, _ = c.Write([]byte("wrong key\n"))
		closed(t, c)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if most := int(time.Since(begun)/time.Second) + 2; len(log.all) > most {
		t.Errorf("%d lines; at most %d are allowed", len(log.all), most)
	}
}

func TestStrangersKeepNobodyWaitingAndGetNothing(t *testing.T) {
	for _, code := range []tunnelurl.TLS{tunnelurl.Plain, tunnelurl.SelfSigned} {
		s, addr := serve(t, config(t, tunnelurl.Server, code))
		var silent []net.Conn
		for range 20 {
			silent = append(silent, from(t, "127.0.0.2", addr))
		}
		hello := from(t, "127.0.0.2", addr)
		_, _ = hello.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
		f := foreignClient(t, addr, tunnelurl.Server, code, 12)
		f.exit()
		session := next(t, s)
		for range 20 { // nor where a client is connected from elsewhere
			silent = append(silent, from(t, "127.0.0.2", addr))
		}
		entry(t, session)
		if got := closed(t, hello); got != "" {
			t.Errorf("a stranger got %q", got)
		}
		if n := session.Stats().Pool; n > 1 {
			t.Errorf("%d are in the pool", n)
		}
		for _, c := range silent {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if n, err := c.Read(make([]byte, 1)); n != 0 {
				t.Errorf("a stranger got %d bytes, %v", n, err)
			}
		}
	}
}

func TestASecondClientAtTheSameAddressIsClosedWhileTheFirstLives(t *testing.T) {
	cfg, log := config(t, tunnelurl.Server, tunnelurl.Plain), newLines()
	cfg.Log = log.add
	s, addr := serve(t, cfg)
	f := foreignHandshake(t, addr, tunnelurl.Server, tunnelurl.Plain)
	f.exit()
	session := next(t, s)
	for range 3 {
		second := from(t, "127.0.0.1", addr)
		_, _ = second.Write(append(six("secret"), '\n'))
		if got := closed(t, second); got != "" {
			t.Errorf("the second client got %q", got)
		}
		works(t, session, f, addr)
	}
	log.wait(t, "a client at the same address is connected")
}

func TestASecondClientAtAnotherAddressHasASessionOfItsOwn(t *testing.T) {
	s, addr := serve(t, config(t, tunnelurl.Server, tunnelurl.Plain))
	f := foreignHandshake(t, addr, tunnelurl.Server, tunnelurl.Plain)
	f.exit()
	first := next(t, s)
	g := newForeign(t, from(t, "127.0.0.2", addr))
	g.say(append(six("secret"), '\n')...)
	second := next(t, s)
	if host, _, _ := net.SplitHostPort(second.Peer().String()); host != "127.0.0.2" {
		t.Errorf("the second client is %s", second.Peer())
	}
	works(t, first, f, addr)
	if n := second.Stats().Pool; n != 0 {
		t.Errorf("the second client has %d connections of the first", n)
	}
}

func TestAClientThatBeginsAnewIsTakenAtOnce(t *testing.T) {
	s, addr := serve(t, config(t, tunnelurl.Server, tunnelurl.Plain))
	for range 5 {
		f := foreignHandshake(t, addr, tunnelurl.Server, tunnelurl.Plain)
		f.exit()
		session := next(t, s)
		works(t, session, f, addr)
		f.close()
		if !s.Expects(address(session.Peer())) {
			t.Log("its end was noticed already")
		}
		defer func() {
			if why := ending(t, session); !strings.Contains(why, "control connection") {
				t.Errorf("it ended because %s", why)
			}
		}()
	}
}

// A connection that is taken for a pool connection, since it said nothing for
// too long, and then turns out to be something else.
func TestWhoSpeaksTooEarlyIsNeverGivenAUser(t *testing.T) {
	s, addr := serve(t, config(t, tunnelurl.Server, tunnelurl.Plain))
	f := foreignHandshake(t, addr, tunnelurl.Server, tunnelurl.Plain)
	f.exit()
	session := next(t, s)
	late := from(t, "127.0.0.1", addr)
	id := make([]byte, 8)
	if _, err := io.ReadFull(late, id); err != nil {
		t.Fatal(err)
	}
	_, _ = late.Write(append(six("secret"), '\n'))
	if got := closed(t, late); got != "" {
		t.Errorf("it got %q", got)
	}
	gone := from(t, "127.0.0.1", addr)
	if _, err := io.ReadFull(gone, id); err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	eventually(t, "an empty pool", func() bool { return session.Stats().Pool == 0 })
	works(t, session, f, addr)

	// And where a user waits for the first connection that comes.
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	opened := make(chan link.Stream, 1)
	go func() {
		c, err := session.Open(ctx, link.TCP, "")
		if err != nil {
			t.Error(err)
		}
		opened <- c
	}()
	eventually(t, "a user who waits", func() bool { return waiting(session) == 1 })
	late = from(t, "127.0.0.1", addr)
	if _, err := io.ReadFull(late, id); err != nil {
		t.Fatal(err)
	}
	_, _ = late.Write(append(six("secret"), '\n'))
	if got := closed(t, late); got != "" {
		t.Errorf("it got %q", got)
	}
	f.open(addr, tunnelurl.Plain)
	if c := <-opened; c != nil {
		askTCP(t, c, 10)
		_ = c.Close()
	}
}

// waiting is how many wait for a connection.
func waiting(s link.Session) int { return s.(*session).pool.Waiting() }

// Where the client receives users, its server must not speak first.
func TestAClientReplacesConnectionsThatSpokeOrEnded(t *testing.T) {
	ln := listen(t)
	cfg := config(t, "", 0)
	cfg.Min, cfg.Dial = 2, dialTo(ln.Addr().String())
	made := make(chan *foreign, 1)
	go func() { made <- foreignServer(t, ln, tunnelurl.Client, tunnelurl.Plain) }()
	session := dialled(t, cfg)
	f := <-made
	_, _ = f.get(<-f.idle).Write([]byte("220 welcome\r\n"))
	_ = f.get(<-f.idle).Close()
	f.exit()
	for range 2 { // both are replaced
		<-f.idle
	}
	eventually(t, "a full pool", func() bool { return session.Stats().Pool == 2 })
	entry(t, session)
}

// What a client sends before its signal is the user's; but the signal must
// come.
func TestAServerWhoseClientReceivesUsersKeepsWhatCameBeforeTheSignal(t *testing.T) {
	s, addr := serve(t, config(t, tunnelurl.Client, tunnelurl.Plain))
	f := foreignHandshake(t, addr, tunnelurl.Client, tunnelurl.Plain)
	session := next(t, s)
	exit(t, session)
	for _, sent := range []string{"x", "hello"} {
		c := f.get(f.open(addr, tunnelurl.Plain))
		if _, err := c.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the first byte", func() bool { return session.Stats().Pool == 1 })
		f.use("#2")
		if got, err := io.ReadAll(c); string(got) != strings.ToUpper(sent) || err != nil {
			t.Errorf("%q: %q, %v", sent, got, err)
		}
	}
}

func TestNothingIsServedWithAKeyThatCannotWork(t *testing.T) {
	cfg, log := config(t, tunnelurl.Server, tunnelurl.Plain), newLines()
	cfg.Secret, cfg.Log = strings.Repeat("k", 37), log.add
	s := NewServer(cfg)
	defer s.Close()
	if s.Err() == nil || !strings.Contains(s.Err().Error(), "37 bytes") {
		t.Errorf("the server says %v", s.Err())
	}
	near, far := net.Pipe()
	s.Handle(t.Context(), link.NewConn(near))
	if got := closed(t, far); got != "" {
		t.Errorf("it answered %q", got)
	}
	if !log.has("37 bytes") {
		t.Errorf("the log has %q", log.all)
	}
	cfg.Dial = func(context.Context) (net.Conn, error) { panic("nothing is to be dialled") }
	if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "37 bytes") {
		t.Errorf("the client says %v", err)
	}
}

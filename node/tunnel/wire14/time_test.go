package wire14

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// piped is a server of ours in a bubble, reached over pipes.
func piped(t *testing.T, cfg link.Config) (*Server, func(context.Context) (net.Conn, error)) {
	s := NewServer(cfg)
	var handling sync.WaitGroup
	t.Cleanup(func() {
		s.Close()
		handling.Wait()
	})
	return s, func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		handling.Go(func() { s.Handle(context.Background(), link.NewConn(far)) })
		return near, nil
	}
}

// shown is a connection over which the key was shown.
func shown(t *testing.T, dial func(context.Context) (net.Conn, error)) string {
	t.Helper()
	c, _ := dial(t.Context())
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, asking); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// joined is a connection that has an id.
func joined(t *testing.T, dial func(context.Context) (net.Conn, error)) (net.Conn, []byte) {
	t.Helper()
	c, _ := dial(t.Context())
	t.Cleanup(func() { _ = c.Close() })
	id := make([]byte, 4)
	if _, err := io.ReadFull(c, id); err != nil {
		t.Fatal(err)
	}
	return c, id
}

// taken is the next session of a server, taken while others go on.
func taken(t *testing.T, s *Server) chan link.Session {
	got := make(chan link.Session, 1)
	go func() {
		session, ok := <-s.Sessions()
		if ok {
			got <- session
		}
	}()
	return got
}

func TestAPeerThatIsFrozenIsLostAfterFifteenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := piped(t, config(t, tunnelurl.Server, tunnelurl.Plain))
		sessions := taken(t, s)
		shown(t, dial)
		control, _ := joined(t, dial)
		begun := time.Now()
		pings := 0
		var reading sync.WaitGroup
		reading.Go(func() { // it takes what comes and says nothing
			lines := bufio.NewReader(control)
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				if line == "CEcCEREdHAtBSEcEGgsEUBg=\n" {
					pings++
				}
			}
		})
		session := <-sessions
		got := ending(t, session)
		if want := "not been heard of for 15s"; !strings.Contains(got, want) || time.Since(begun) != silence {
			t.Errorf("after %v: %s", time.Since(begun), got)
		}
		_ = session.Close()
		reading.Wait()
		if pings != 3 && pings != 4 { // one more may be sent at the end
			t.Errorf("%d pings in 15 seconds, want one at once and every 5 seconds", pings)
		}
	})
}

func TestAPeerThatReadsNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := piped(t, config(t, tunnelurl.Server, tunnelurl.Plain))
		sessions := taken(t, s)
		shown(t, dial)
		joined(t, dial)
		session := <-sessions
		if got := ending(t, session); !strings.Contains(got, "control connection is lost") {
			t.Error(got)
		}
		_ = session.Close()
	})
}

func TestAClientThatMakesNoConnectionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := piped(t, config(t, tunnelurl.Server, tunnelurl.Plain))
		shown(t, dial)
		if !s.Expects(netip.Addr{}) {
			t.Error("no connection of it is expected")
		}
		if got := shown(t, dial); got != "HTTP/1.1 409 Conflict" {
			t.Error(got)
		}
		<-time.After(beginning)
		if got := shown(t, dial); got != "HTTP/1.1 200 OK" {
			t.Error(got)
		}
		<-time.After(step)
		synctest.Wait()
		if s.Expects(netip.Addr{}) {
			t.Error("connections of it are still expected")
		}
	})
}

func TestAClientTakesThePlaceOfOneThatIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := piped(t, config(t, tunnelurl.Server, tunnelurl.Plain))
		sessions := taken(t, s)
		shown(t, dial)
		control, _ := joined(t, dial)
		go func() { _, _ = io.Copy(io.Discard, control) }()
		old := <-sessions
		if got := shown(t, dial); got != "HTTP/1.1 409 Conflict" {
			t.Error(got)
		}
		<-time.After(stale)
		if got := shown(t, dial); got != "HTTP/1.1 200 OK" {
			t.Error(got)
		}
		if got := ending(t, old); !strings.Contains(got, "has taken its place") {
			t.Error(got)
		}
		_ = old.Close()
	})
}

// The word that a connection is used may come before the connection, and before
// it by five seconds at most.
func TestTheExitWaitsForAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, log := config(t, tunnelurl.Client, tunnelurl.Plain), newLines()
		cfg.Log = log.add
		s, dial := piped(t, cfg)
		sessions := taken(t, s)
		shown(t, dial)
		control, _ := joined(t, dial)
		go func() { _, _ = io.Copy(io.Discard, control) }()
		session := <-sessions
		began := time.Now()
		if _, err := io.WriteString(control, base64Of(`{"action":"tcp","remote":"192.0.2.1:5","id":"12345678"}`)+"\n"); err != nil {
			t.Fatal(err)
		}
		log.wait(t, "a connection that is not there")
		if time.Since(began) != 5*time.Second {
			t.Errorf("after %v", time.Since(began))
		}
		_ = session.Close()
	})
}

func TestWhatNobodyAsksForIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := piped(t, config(t, tunnelurl.Client, tunnelurl.Plain))
		sessions := taken(t, s)
		shown(t, dial)
		control, _ := joined(t, dial)
		go func() { _, _ = io.Copy(io.Discard, control) }()
		session := <-sessions
		c, _ := joined(t, dial)
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(began) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		_ = session.Close()
	})
}

// Users wait, and the client thinks that it has connections enough.
func TestAServerThatIsStarvedTellsItsClientToBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := piped(t, config(t, tunnelurl.Server, tunnelurl.Plain))
		sessions := taken(t, s)
		shown(t, dial)
		control, _ := joined(t, dial)
		session := <-sessions
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if st, err := session.Open(ctx, link.TCP, user); err == nil {
				_ = st.Close()
				t.Error("there was a connection")
			}
		})
		lines := bufio.NewReader(control)
		for range 10 {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == base64Of(`{"action":"flush"}`)+"\n" {
				cancel()
				running.Wait()
				_ = session.Close()
				return
			}
			if _, err := io.WriteString(control, base64Of(`{"action":"pong"}`)+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		t.Error("it did not")
	})
}

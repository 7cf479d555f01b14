package tunnel_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"signalbox/node/tunnel"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// alone starts a client without a server that forwards to targets.
func alone(t *testing.T, targets, parameters string) (m *machine, users string) {
	t.Helper()
	m, users = boot(t, tunnel.Config{}), free(t)
	m.Apply([]tunnel.Wanted{{Name: "one", URL: "client://" + users + "/" + targets + "?" + parameters}})
	if got := m.state("one", running); got.GetMode() != signalboxv1.InstanceMode_INSTANCE_MODE_SINGLE {
		t.Errorf("mode %v", got.GetMode())
	}
	return m, users
}

func TestASingleEndForwards(t *testing.T) {
	_, users := alone(t, answering(t, same).address, "")
	if got, err := ask(users, []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if got := tell(t, users, []byte("3 times"), 3); string(got[2]) != "3 times" {
		t.Errorf("%q", got)
	}
}

func TestAClientLeavesThePortToAServerThatIsToCome(t *testing.T) {
	m, at, users := boot(t, tunnel.Config{}), free(t), free(t)
	client := tunnel.Wanted{Name: "client", URL: "client://" + at + "/" + answering(t, same).address}
	_, port, _ := net.SplitHostPort(at)
	m.Expect(map[string]bool{port: true})
	m.Apply([]tunnel.Wanted{client})
	if got := m.state("client", failing); got.GetMode() == signalboxv1.InstanceMode_INSTANCE_MODE_SINGLE {
		t.Errorf("mode %v", got.GetMode())
	}
	m.Apply([]tunnel.Wanted{client, {Name: "server", URL: "server://" + at + "/" + users}})
	m.state("client", running)
	if got, err := ask(users, []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestATargetThatIsDownIsALineAndTheNextIsAsked(t *testing.T) {
	down := free(t)
	_, both := alone(t, down+","+answering(t, same).address, "noudp=1")
	for range 4 {
		if got, err := ask(both, []byte("hello")); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
	}
	m, users := alone(t, down, "noudp=1")
	if got, _ := ask(users, []byte("hello")); len(got) > 0 {
		t.Errorf("%q", got)
	}
	m.until("a line says so", func() bool {
		return strings.Contains(strings.Join(m.logged(), "\n"), "LOG_LEVEL_WARN Connection of 127.0.0.1") &&
			strings.Contains(strings.Join(m.logged(), "\n"), "target "+down+": connect: connection refused")
	})
	m.state("one", running)
}

func TestAUDPUserOfATargetThatIsDownIsGivenTheNext(t *testing.T) {
	_, single := alone(t, free(t)+","+answering(t, same).address, "")
	m, door, users := boot(t, tunnel.Config{}), free(t), free(t)
	m.Apply([]tunnel.Wanted{
		{Name: "server", URL: "server://k@" + door + "/" + users + "?mode=1"},
		{Name: "client", URL: "client://k@" + door + "/" + free(t) + "," + answering(t, same).address + "?mode=2"},
	})
	m.state("server", running)
	for _, at := range []string{single, users} {
		c, err := net.Dial("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m.until("there is an answer", func() bool {
			_, _ = c.Write([]byte("1"))
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			n, err := c.Read(make([]byte, 10))
			return n == 1 && err == nil
		})
	}
}

func TestSlotsBoundConnectionsAndSessions(t *testing.T) {
	to := answering(t, same)
	m, users := alone(t, to.address, "slot=1")
	first, err := net.Dial("tcp", users)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	m.report("one", "has a user", func(r *signalboxv1.InstanceReport) bool { return r.GetRun().GetTcpConnections() == 1 })
	second, err := net.Dial("tcp", users)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_ = second.SetDeadline(time.Now().Add(20 * time.Second))
	if n, err := second.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the second read %d bytes, %v", n, err)
	}
	_ = first.Close()
	m.report("one", "has no user", func(r *signalboxv1.InstanceReport) bool { return r.GetRun().GetTcpConnections() == 0 })
	m.until("there is room again", func() bool {
		got, err := ask(users, []byte("hello"))
		return err == nil && string(got) == "hello"
	})
}

func TestTheTargetIsToldWhoTheUserIs(t *testing.T) {
	_, users := alone(t, answering(t, same).address, "proxy=1&noudp=1")
	c, err := net.Dial("tcp", users)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("hello"))
	_ = c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(bufio.NewReader(c))
	user, door := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
	if want := fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\nhello", user.Port, door.Port); string(got) != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestTheExitTellsTheTargetWhoTheUserAtTheEntryIs(t *testing.T) {
	p := tunnelled(t, flows["users come in at the client"], same, "&proxy=1", "")
	got, err := ask(p.users, []byte("hello"))
	if err != nil || !strings.HasPrefix(string(got), "PROXY TCP4 127.0.0.1 127.0.0.1 ") || !strings.HasSuffix(string(got), "\r\nhello") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWhatIsBlockedOrLeftOutDoesNotPass(t *testing.T) {
	m, users := alone(t, answering(t, same).address, "block=2&noudp=1")
	if got, _ := ask(users, []byte("GET / HTTP/1.1\r\n\r\n")); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if got, err := ask(users, []byte("hello")); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	m.until("a line says so", func() bool { return strings.Contains(strings.Join(m.logged(), "\n"), "its protocol is blocked") })
	if c, err := net.ListenPacket("udp", users); err != nil {
		t.Errorf("noudp, and yet: %v", err)
	} else {
		_ = c.Close()
	}
}

func TestAUDPUserWhoSaysNothingIsForgotten(t *testing.T) {
	m, users := boot(t, tunnel.Config{UDPIdle: 50 * time.Millisecond}), free(t)
	m.Apply([]tunnel.Wanted{{Name: "one", URL: "client://" + users + "/" + answering(t, same).address}})
	m.state("one", running)
	c, err := net.Dial("udp", users)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 10)
	for range 2 { // the second time as a new session
		_, _ = c.Write([]byte("hello"))
		if n, err := c.Read(buf); string(buf[:n]) != "hello" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		m.report("one", "has no session", func(r *signalboxv1.InstanceReport) bool { return r.GetRun().GetUdpSessions() == 0 })
	}
}

// An answer from another address than the one that was spoken to is nobody's.
func TestAnswersComeFromTheAddressThatWasSpokenTo(t *testing.T) {
	for _, host := range []string{"", "0.0.0.0"} {
		m := boot(t, tunnel.Config{})
		_, port, _ := net.SplitHostPort(free(t))
		m.Apply([]tunnel.Wanted{{Name: "one", URL: "client://" + host + ":" + port + "/" + answering(t, same).address}})
		m.state("one", running)
		for _, at := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
			if l, err := net.Listen("tcp", net.JoinHostPort(at, "0")); err != nil {
				continue // a machine without that address
			} else {
				_ = l.Close()
			}
			if got := tell(t, net.JoinHostPort(at, port), []byte("2 times"), 2); string(got[1]) != "2 times" {
				t.Errorf("%q", got)
			}
		}
	}
}

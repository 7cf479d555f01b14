package tunnel_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"signalbox/node/tunnel"
	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// answers starts something at a tunnel's port that reads a line and then does
// as it is told.
func answers(t *testing.T, do func(c net.Conn, line string)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				line, _ := bufio.NewReader(c).ReadString('\n')
				do(c, line)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// attempts are the wires a client tried, in order, all in vain.
type attempts struct {
	mu    sync.Mutex
	tried []string
}

// wire is one that introduces itself with a line, is not understood, and reads
// what comes.
func (a *attempts) wire(name, says string) tunnel.Wire {
	return tunnel.Wire{Dial: func(ctx context.Context, cfg link.Config) (link.Session, error) {
		a.mu.Lock()
		a.tried = append(a.tried, name)
		a.mu.Unlock()
		c, err := cfg.Dial(ctx)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		_, _ = io.WriteString(c, says)
		_, _ = io.Copy(io.Discard, c)
		return nil, errors.New("the server did not take " + name)
	}}
}

func TestAClientFindsOutWhatItsServerSpeaks(t *testing.T) {
	for what, c := range map[string]struct {
		do         func(net.Conn, string)
		parameters string
		want       string
	}{
		"ours, with another key": {func(c net.Conn, _ string) { _, _ = io.WriteString(c, "signalbox/1\nno\n") }, "", "signalbox"},
		"1.14":                   {func(c net.Conn, _ string) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "", "signalbox 1.14"},
		"1.4, which closes":      {func(net.Conn, string) {}, "", "signalbox signalbox signalbox 1.4"},
		"1.4, which is silent":   {func(c net.Conn, _ string) { _, _ = io.Copy(io.Discard, c) }, "", "signalbox signalbox signalbox 1.4"},
		"what the URL says":      {func(net.Conn, string) {}, "&wire=1.14", "1.14"},
	} {
		t.Run(what, func(t *testing.T) {
			a := &attempts{}
			m := boot(t, tunnel.Config{Retry: 50 * time.Millisecond, Silence: 50 * time.Millisecond, Wires: map[tunnelurl.Wire]tunnel.Wire{
				tunnelurl.Signalbox: a.wire("signalbox", "signalbox/1\n"),
				tunnelurl.V1_14:     a.wire("1.14", "GET / HTTP/1.1\r\n\r\n"),
				tunnelurl.V1_4: {Dial: func(context.Context, link.Config) (link.Session, error) {
					a.mu.Lock()
					defer a.mu.Unlock()
					a.tried = append(a.tried, "1.4")
					return nil, errors.New("not either")
				}},
			}})
			m.Apply([]tunnel.Wanted{{Name: "one", URL: "client://" + answers(t, c.do) + "/127.0.0.1:1?mode=2" + c.parameters}})
			m.state("one", failing)
			a.mu.Lock()
			defer a.mu.Unlock()
			n := min(len(a.tried), len(strings.Fields(c.want)))
			if got := strings.Join(a.tried[:n], " "); got != c.want {
				t.Errorf("tried %v; want %v first", a.tried, c.want)
			}
		})
	}
}

// What a proxy does while its server begins, or a server that has too many
// strangers, is no proof that the key may be told.
func TestAServerIsNotTakenFor14ByChance(t *testing.T) {
	const closes, resets, ours = "closes", "resets", "ours"
	turns := []string{closes, closes, resets, closes, closes, ours, closes, resets, ours, closes, closes, resets}
	var mu sync.Mutex
	seen := 0
	door := answers(t, func(c net.Conn, _ string) {
		mu.Lock()
		turn := turns[seen%len(turns)]
		seen++
		mu.Unlock()
		switch turn {
		case resets:
			_ = c.(*net.TCPConn).SetLinger(0)
		case ours:
			_, _ = io.WriteString(c, "signalbox/1\nno\n")
		}
	})
	a := &attempts{}
	m := boot(t, tunnel.Config{Retry: 5 * time.Millisecond, Silence: 10 * time.Second, Wires: map[tunnelurl.Wire]tunnel.Wire{
		tunnelurl.Signalbox: a.wire("signalbox", "signalbox/1\n"), tunnelurl.V1_4: a.wire("1.4", "k\n"),
	}})
	m.Apply([]tunnel.Wanted{{Name: "one", URL: "client://k@" + door + "/127.0.0.1:1?mode=2"}})
	m.until("it has tried often", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen >= 2*len(turns)
	})
	m.stop()
	if all := strings.Join(a.tried, " "); strings.Contains(all, "1.4") {
		t.Errorf("the key went to a stranger: %s", all)
	}
}

// A client that was talked into less returns to ours as soon as it can, and does
// not make a 1.4 server wait.
func TestALesserWireLastsNoLongerThanItsSession(t *testing.T) {
	for _, wire := range []string{"1.4", "1.14"} {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			m := boot(t, tunnel.Config{Wires: tunnel.Wires(), Retry: 50 * time.Millisecond})
			door := free(t)
			lesser := tunnel.Wanted{Name: "server", URL: "server://secret@" + door + "/" + free(t) + "?mode=1&wire=" + wire}
			client := tunnel.Wanted{Name: "client", URL: "client://secret@" + door + "/127.0.0.1:1?mode=2&log=debug"}
			m.Apply([]tunnel.Wanted{lesser, client})
			m.report("client", "speaks it", func(r *signalboxv1.InstanceReport) bool {
				return r.GetRun().GetState() == running && r.GetRun().GetWire() == wire
			})
			if all := strings.Join(m.logged(), "\n"); !strings.Contains(all, "WARN The server at "+door+" does not speak as Signalbox does: falling back to wire "+wire) {
				t.Error("that is not said")
			}
			lesser.Starts = 2
			m.Apply([]tunnel.Wanted{lesser, client})
			m.until("it speaks the lesser one again", func() bool {
				return strings.Count(strings.Join(m.logged(), "\n"), "INFO Tunnel handshaked: "+door+", wire "+wire) >= 2
			})
			if all := strings.Join(m.logged(), "\n"); wire == "1.4" && !strings.Contains(all, "(1 of 1 times)") {
				t.Error("a 1.4 server is made to wait")
			}
			m.Apply([]tunnel.Wanted{{Name: "server", URL: strings.TrimSuffix(lesser.URL, "&wire="+wire), Starts: 2}, client})
			m.report("client", "speaks ours", func(r *signalboxv1.InstanceReport) bool {
				return r.GetRun().GetState() == running && r.GetRun().GetWire() == "signalbox"
			})
		})
	}
}

func TestWhatWorkedIsRemembered(t *testing.T) {
	a, fake := &attempts{}, &fakeWire{}
	ours := fake.wires()[tunnelurl.Signalbox]
	door := free(t)
	serving := boot(t, tunnel.Config{Wires: map[tunnelurl.Wire]tunnel.Wire{tunnelurl.Signalbox: ours}})
	server := tunnel.Wanted{Name: "server", URL: "server://k@" + door + "/127.0.0.1:1?mode=2"}
	serving.Apply([]tunnel.Wanted{server})
	m := boot(t, tunnel.Config{Wires: map[tunnelurl.Wire]tunnel.Wire{
		tunnelurl.Signalbox: {Dial: ours.Dial}, tunnelurl.V1_4: a.wire("1.4", "k\n"),
	}})
	m.Apply([]tunnel.Wanted{{Name: "one", URL: "client://k@" + door + "/" + free(t) + "?mode=2"}})
	m.state("one", running)
	serving.Apply(nil)
	// What is there now closes every connection, as a 1.4 server would.
	m.state("one", failing)
	m.until("the port is free", func() bool {
		l, err := net.Listen("tcp", door)
		if err != nil {
			return false
		}
		for range 4 {
			if c, err := l.Accept(); err == nil {
				_ = c.Close()
			}
		}
		return l.Close() == nil
	})
	serving.Apply([]tunnel.Wanted{server})
	m.state("one", running)
	if len(a.tried) > 0 {
		t.Errorf("the key went to a stranger: %v", a.tried)
	}
}

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
		"1.4, which closes":      {func(net.Conn, string) {}, "", "signalbox 1.4"},
		"1.4, which is silent":   {func(c net.Conn, _ string) { _, _ = io.Copy(io.Discard, c) }, "", "signalbox 1.4"},
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

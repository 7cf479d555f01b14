package tunnel_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"signalbox/node/tunnel"
	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/wirebox"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// warned counts the lines of warning with a text in them.
func (m *machine) warned(text string) (n int) {
	for _, line := range m.logged() {
		if strings.HasPrefix(line, "LOG_LEVEL_WARN ") && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestAServerWithoutAKeyWarnsOfIt(t *testing.T) {
	for what, c := range map[string]struct {
		key, host      string
		port, stranger int // lines
	}{
		"everywhere, without a key": {"", "0.0.0.0", 1, 1},
		"everywhere, with one":      {"k@", "0.0.0.0", 0, 0},
		"on loopback, without":      {"", "127.0.0.1", 0, 0},
	} {
		t.Run(what, func(t *testing.T) {
			m := boot(t, tunnel.Config{Wires: tunnel.Wires()})
			_, port, _ := net.SplitHostPort(free(t))
			url := "server://" + c.key + c.host + ":" + port + "/127.0.0.1:1?mode=2"
			parsed, err := tunnelurl.Parse(url)
			if err != nil {
				t.Fatal(err)
			}
			m.Apply([]tunnel.Wanted{{Name: "server", URL: url}})
			m.state("server", starting)
			for n, ip := range []string{"127.0.0.1", "127.0.0.1", "127.0.0.2"} {
				from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
				s, err := wirebox.Dial(t.Context(), link.Config{
					Secret: parsed.Secret(tunnelurl.Signalbox),
					Dial:   func(ctx context.Context) (net.Conn, error) { return from.DialContext(ctx, "tcp", "127.0.0.1:"+port) },
				})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				m.until("it has joined", func() bool { return strings.Count(strings.Join(m.logged(), "\n"), "handshaked") == n+1 })
				if n == 1 && m.warned("Another client") > 0 {
					t.Error("warned of a client at the same address")
				}
			}
			if n := m.warned("anybody who knows the port " + port); n != c.port {
				t.Errorf("%d warnings of the port; want %d", n, c.port)
			}
			if n := m.warned("Another client, at 127.0.0.2,"); n != c.stranger {
				t.Errorf("%d warnings of a stranger; want %d", n, c.stranger)
			}
		})
	}
}

func TestAWireThatCannotTellClientsApartIsWarnedOf(t *testing.T) {
	for wire := range tunnel.Wires() {
		for flow, mode := range flows {
			t.Run(string(wire)+", "+flow, func(t *testing.T) {
				t.Parallel()
				m, door, to := boot(t, tunnel.Config{Wires: tunnel.Wires()}), free(t), answering(t, same)
				serverAt, clientAt, receives, want := free(t), to.address, "1", 1
				if mode == signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES {
					serverAt, clientAt, receives, want = clientAt, serverAt, "2", 0
				}
				if wire == tunnelurl.Signalbox {
					want = 0
				}
				m.Apply([]tunnel.Wanted{
					{Name: "server", URL: "server://secret@" + door + "/" + serverAt + "?mode=" + receives},
					{Name: "client", URL: "client://secret@" + door + "/" + clientAt + "?mode=2&wire=" + string(wire)},
				})
				m.state("client", running)
				m.state("server", running)
				if n := m.warned("can take users' connections"); n != want {
					t.Errorf("%d warnings; want %d", n, want)
				}
			})
		}
	}
}

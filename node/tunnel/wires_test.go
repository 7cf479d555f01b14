package tunnel_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"signalbox/node/certfile/certtest"
	"signalbox/node/tunnel"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Every generation that is spoken carries every flow with every kind of TLS,
// from one instance to another.
func TestEveryWireCarriesEveryFlow(t *testing.T) {
	files := certtest.New(t)
	files.Make("tunnel", 1)
	for wire := range tunnel.Wires() {
		for flow, mode := range flows {
			for tls := range 3 {
				t.Run(fmt.Sprintf("%s, %s, tls=%d", wire, flow, tls), func(t *testing.T) {
					t.Parallel()
					m := boot(t, tunnel.Config{Wires: tunnel.Wires(), Roots: files.Pool})
					users, door, to := free(t), free(t), answering(t, same)
					serverAt, clientAt, receives := users, to.address, 1
					if mode == signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES {
						serverAt, clientAt, receives = clientAt, serverAt, 2
					}
					m.Apply([]tunnel.Wanted{
						{Name: "server", URL: fmt.Sprintf("server://secret@%s/%s?mode=%d&tls=%d&crt=%s&key=%s",
							door, serverAt, receives, tls, files.File("tunnel.pem"), files.File("tunnel.key"))},
						{Name: "client", URL: fmt.Sprintf("client://secret@%s/%s?mode=2&min=4&wire=%s", door, clientAt, wire)},
					})
					if got := m.state("client", running); got.GetWire() != string(wire) || got.GetMode() != mode {
						t.Errorf("%v", got)
					}
					m.state("server", running)
					want := bytes.Repeat([]byte("0123456789"), 20_000)
					if got, err := ask(users, want); err != nil || !bytes.Equal(got, want) {
						t.Errorf("TCP: %d bytes of %d came back, %v", len(got), len(want), err)
					}
					if got := tell(t, users, []byte("1 hello"), 1); string(got[0]) != "1 hello" {
						t.Errorf("UDP: %q", got)
					}
					if all := strings.Join(m.logged(), "\n"); strings.Contains(all, "secret") {
						t.Error("the key is logged")
					}
				})
			}
		}
	}
}

// What is wrong between two ends of any generation is shown, and ends when it is
// mended.
func TestOnEveryWireAWrongKeyIsShown(t *testing.T) {
	for wire := range tunnel.Wires() {
		t.Run(string(wire), func(t *testing.T) {
			t.Parallel()
			m, door := boot(t, tunnel.Config{Wires: tunnel.Wires()}), free(t)
			server := tunnel.Wanted{Name: "server", URL: "server://secret@" + door + "/" + free(t) + "?mode=1"}
			client := tunnel.Wanted{Name: "client", URL: "client://secreT@" + door + "/127.0.0.1:1?mode=2&wire=" + string(wire)}
			m.Apply([]tunnel.Wanted{server, client})
			m.report("client", "has the key as its reason", func(r *signalboxv1.InstanceReport) bool {
				return r.GetRun().GetState() == failing && strings.Contains(r.GetRun().GetReason(), "key")
			})
			m.state("server", starting)
			client.URL = strings.Replace(client.URL, "secreT", "secret", 1)
			m.Apply([]tunnel.Wanted{server, client})
			m.state("client", running)
			m.state("server", running)
		})
	}
}

// Either end may begin anew at any time, and clients without wire= find out what
// their server speaks.
func TestOnEveryWireTrafficFlowsAgainAfterARestart(t *testing.T) {
	for wire := range tunnel.Wires() {
		t.Run(string(wire), func(t *testing.T) {
			t.Parallel()
			m := boot(t, tunnel.Config{Wires: tunnel.Wires(), Retry: 50 * time.Millisecond})
			door, users, to := free(t), free(t), answering(t, same)
			server := tunnel.Wanted{Name: "server", URL: "server://secret@" + door + "/" + users + "?mode=1&wire=" + string(wire)}
			client := tunnel.Wanted{Name: "client", URL: "client://secret@" + door + "/" + to.address + "?mode=2"}
			for n := range int64(4) {
				server.Starts, client.Starts = 1+n/2, 1+(n+1)/2
				m.Apply([]tunnel.Wanted{server, client})
				m.report("client", "runs anew", func(r *signalboxv1.InstanceReport) bool {
					return r.GetRun().GetState() == running && r.GetRun().GetStarts() == client.Starts && r.GetRun().GetWire() == string(wire)
				})
				m.until("traffic flows", func() bool {
					c, err := net.Dial("tcp", users)
					if err != nil {
						return false
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(20 * time.Second))
					_, err = c.Write([]byte("hello"))
					_ = c.(*net.TCPConn).CloseWrite()
					got, err2 := io.ReadAll(c)
					return err == nil && err2 == nil && string(got) == "hello"
				})
			}
		})
	}
}

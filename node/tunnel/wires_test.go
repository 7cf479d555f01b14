package tunnel_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"signalbox/node/certfile/certtest"
	"signalbox/node/tunnel"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// Every generation that is spoken carries every flow with every kind of TLS,
// from one instance to another.
func TestEveryWireCarriesEveryFlow(t *testing.T) {
	files := certtest.New(t)
	files.Make("tunnel", 1)
	for wire := range tunnel.Wires() {
		for flow, mode := range flows {
			for tls := range 3 {
				if wire == tunnelurl.V1_14 && tls == 2 { // which 1.14 has no working form of
					continue
				}
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
					if got := tell(t, users, []byte("hello"), 1); string(got[0]) != "hello" {
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

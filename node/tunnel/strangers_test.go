package tunnel_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"signalbox/node/tunnel"
	"signalbox/proto/tunnelurl"
)

// knocks are how each generation's strangers begin who show no key.
var knocks = map[tunnelurl.Wire]string{tunnelurl.Signalbox: "signalbox/1\n", tunnelurl.V1_14: "GET /", tunnelurl.V1_4: "x"}

// strangers come to a tunnel's port, one after the other, and stay.
func strangers(t *testing.T, door, say string, n int) (all []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", door)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// sentAway waits until a stranger's connection is ended, for less than he would
// have to show the key.
func sentAway(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a stranger stays")
	}
}

// Saying what one speaks is not showing the key: of too many who do only that
// the oldest are sent away, and clients are not.
func TestStrangersAreBoundedUntilTheyShowTheKey(t *testing.T) {
	for wire, say := range knocks {
		for what, parameter := range map[string]string{"found": "", "forced": "&wire=" + string(wire)} {
			t.Run(string(wire)+", "+what, func(t *testing.T) {
				t.Parallel()
				m := boot(t, tunnel.Config{Wires: tunnel.Wires(), Unknown: 16})
				door, users, to := free(t), free(t), answering(t, same)
				m.Apply([]tunnel.Wanted{
					{Name: "server", URL: "server://secret@" + door + "/" + users + "?mode=1" + parameter},
					{Name: "client", URL: "client://secret@" + door + "/" + to.address + "?mode=2&min=64&wire=" + string(wire)},
				})
				m.state("client", running)
				m.state("server", running)
				all := strangers(t, door, say, 40)
				sentAway(t, all[0])
				sentAway(t, all[20])
				want := bytes.Repeat([]byte("0123456789"), 1000)
				for range 20 {
					if got, err := ask(users, want); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%d bytes of %d came back, %v", len(got), len(want), err)
					}
				}
				if n := strings.Count(strings.Join(m.logged(), "\n"), "Tunnel handshaked"); n != 2 {
					t.Errorf("the client's session was ended: both ends have had %d", n)
				}
			})
		}
	}
}

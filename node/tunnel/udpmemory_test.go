package tunnel_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"signalbox/node/tunnel"
	"signalbox/proto/tunnelurl"
)

// heap is how much is in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // and what the first one left in pools
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Every address that sends one byte is a user for as long as nothing comes, and
// addresses are cheap.
func TestUDPUsersWhoSayNothingHoldNoBuffers(t *testing.T) {
	const users, most = 200, 24 << 10
	test := func(t *testing.T, address string) {
		tell(t, address, []byte("hello"), 1) // and all that is made once is there
		before := heap()
		buf := make([]byte, 10)
		for range users {
			c, err := net.Dial("udp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(buf); err != nil || n != 1 {
				t.Fatalf("%d bytes, %v", n, err)
			}
		}
		each := (int64(heap()) - int64(before)) / users
		t.Logf("%d bytes for each", each)
		if each > most {
			t.Errorf("each holds %d bytes, more than %d", each, most)
		}
	}
	t.Run("at a single end", func(t *testing.T) {
		_, address := alone(t, answering(t, same).address, "")
		test(t, address)
	})
	for _, wire := range []tunnelurl.Wire{tunnelurl.Signalbox, tunnelurl.V1_4} {
		t.Run("at both ends of a tunnel, "+string(wire), func(t *testing.T) {
			m, door, address := boot(t, tunnel.Config{Wires: tunnel.Wires()}), free(t), free(t)
			m.Apply([]tunnel.Wanted{
				{Name: "server", URL: "server://k@" + door + "/" + address + "?mode=1"},
				{Name: "client", URL: "client://k@" + door + "/" + answering(t, same).address + "?mode=2&wire=" + string(wire)},
			})
			m.state("server", running)
			m.state("client", running)
			test(t, address)
		})
	}
}

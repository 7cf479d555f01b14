package tunnel

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"signalbox/node/tunnel/account"
	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// A scripted server tells what it was handed.
type scripted struct {
	wire   tunnelurl.Wire
	handed chan handed
}

// handed is a connection that a server was.
type handed struct {
	wire  tunnelurl.Wire
	first string // what could be read of it
}

func (*scripted) Sessions() <-chan link.Session { return nil }
func (*scripted) Close()                        {}

func (s *scripted) Handle(_ context.Context, c *link.Conn) {
	defer c.Close()
	first := make([]byte, c.Buffered())
	_, _ = io.ReadFull(c, first)
	s.handed <- handed{s.wire, string(first)}
}

// knowing is a server that says who has introduced himself.
type knowing struct {
	*scripted
	expects bool
}

func (k *knowing) Expects(netip.Addr) bool { return k.expects }

// opened starts a door with all three servers, and returns its address.
func opened(t *testing.T, cfg Config, more ...*knowing) (address string, all chan handed) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := tunnelurl.Parse("server://127.0.0.1:1/127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(cfg.withDefaults(), Wanted{Name: "one"}, u, account.New().Begin("one", 1, 1))
	all = make(chan handed, 100)
	servers := map[tunnelurl.Wire]Server{}
	for _, w := range []tunnelurl.Wire{tunnelurl.Signalbox, tunnelurl.V1_4, tunnelurl.V1_14} {
		servers[w] = &scripted{w, all}
	}
	for _, k := range more {
		k.scripted = &scripted{k.wire, all}
		servers[k.wire] = k
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = newDoor(r, servers).serve(ctx, l.(*net.TCPListener))
	}()
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), all
}

// knock connects and says something.
func knock(t *testing.T, address, what string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnectionsGoToTheWireTheySpeak(t *testing.T) {
	address, all := opened(t, Config{})
	for _, c := range []struct {
		says string
		want tunnelurl.Wire
	}{
		{"signalbox/1\n", tunnelurl.Signalbox},
		{"GET / HTTP/1.1\r\n\r\n", tunnelurl.V1_14},
		{"\x16\x03\x01", tunnelurl.V1_14}, // of the one who introduced himself before
		{"", tunnelurl.V1_14},
		{"ucetcr\n", tunnelurl.V1_4},
		{"", tunnelurl.V1_4},
		{"\x16\x03\x01", tunnelurl.V1_4},
		{"signalbox/1\n", tunnelurl.Signalbox},
	} {
		knock(t, address, c.says)
		if got := <-all; got != (handed{c.want, c.says}) {
			t.Errorf("%q went to %q with %q", c.says, got.wire, got.first)
		}
	}
	slow := knock(t, address, "signal")
	knock(t, address, "GET /")
	if got := <-all; got.wire != tunnelurl.V1_14 {
		t.Errorf("went to %q", got.wire)
	}
	_, _ = io.WriteString(slow, "box/1\n")
	if got := <-all; got != (handed{tunnelurl.Signalbox, "signalbox/1\n"}) {
		t.Errorf("went to %q with %q", got.wire, got.first)
	}
}

func TestServersKnowBestWhomTheyExpect(t *testing.T) {
	four, fourteen := &knowing{&scripted{wire: tunnelurl.V1_4}, false}, &knowing{&scripted{wire: tunnelurl.V1_14}, true}
	address, all := opened(t, Config{}, four, fourteen)
	for _, says := range []string{"ucetcr\n", "", "\x16\x03\x01"} {
		knock(t, address, says)
		want := tunnelurl.V1_14
		if says == "ucetcr\n" {
			want = tunnelurl.V1_4
		}
		if got := <-all; got.wire != want {
			t.Errorf("%q went to %q", says, got.wire)
		}
	}
}

func TestStrangersWhoSayNothingAreSentAway(t *testing.T) {
	t.Run("after a while", func(t *testing.T) {
		address, all := opened(t, Config{Introduction: 30 * time.Millisecond})
		for _, says := range []string{"", "signal"} {
			if _, err := knock(t, address, says).Read(make([]byte, 1)); err == nil {
				t.Errorf("%q was answered", says)
			}
		}
		if len(all) > 0 {
			t.Errorf("handed on: %v", <-all)
		}
	})
	t.Run("when there are too many, and nobody waits for them", func(t *testing.T) {
		address, all := opened(t, Config{Unknown: 2})
		first := knock(t, address, "")
		knock(t, address, "")
		knock(t, address, "")
		if _, err := first.Read(make([]byte, 1)); err == nil {
			t.Error("the first was answered")
		}
		knock(t, address, "signalbox/1\n")
		if got := <-all; got.wire != tunnelurl.Signalbox {
			t.Errorf("went to %q", got.wire)
		}
	})
}

// What was known of a beginning stays so with what follows it, and as many
// bytes as the longest introduction has always tell.
func FuzzRecognise(f *testing.F) {
	f.Add([]byte("signalbox/1\n"))
	f.Add([]byte("GET / HTTP/1.1"))
	f.Add([]byte{0x16, 3, 1})
	f.Fuzz(func(t *testing.T, first []byte) {
		told, known := tunnelurl.Wire(""), false
		for n := range len(first) + 1 {
			w, k := recognise(first[:n])
			if known && (!k || w != told) {
				t.Fatalf("%q was %q, and with %d bytes is %q, %v", first, told, n, w, k)
			}
			if n >= len(ours) && !k {
				t.Fatalf("%q is not known", first[:n])
			}
			if k && w == tunnelurl.Signalbox != bytes.HasPrefix(first[:n], []byte(ours)) {
				t.Fatalf("%q is %q", first[:n], w)
			}
			told, known = w, k
		}
	})
}

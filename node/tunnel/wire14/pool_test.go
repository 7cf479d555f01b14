package wire14

import (
	"io"
	"net"
	"testing"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// theirServer is a foreign server, which says max 8, and a client of ours.
func theirServer(t *testing.T, least, most int) (*foreign, link.Session) {
	t.Helper()
	ln := listen(t)
	cfg := config(t, "", 0)
	cfg.Min, cfg.Max, cfg.Dial = least, most, dialTo(ln.Addr().String())
	made := make(chan *foreign, 1)
	go func() { made <- foreignServer(t, ln, tunnelurl.Server, tunnelurl.Plain) }()
	session := dialled(t, cfg)
	return <-made, session
}

func TestAClientKeepsAsManyAsBothEndsAllow(t *testing.T) {
	for _, c := range []struct{ least, most, want int }{{5, 16, 5}, {20, 64, 8}, {6, 3, 3}, {0, 0, 1}, {-1, -1, 1}} {
		f, session := theirServer(t, c.least, c.most)
		for range c.want {
			<-f.idle
		}
		eventually(t, "as many connections as are wanted", func() bool { return session.Stats().Pool == c.want })
		select {
		case id := <-f.idle:
			t.Errorf("%d to %d: %s is one too many", c.least, c.most, id)
		default:
		}
	}
}

func TestAClientBeginsAnewWhenItIsTold(t *testing.T) {
	f, session := theirServer(t, 3, 8)
	var old []net.Conn
	for range 3 {
		_, c := f.free()
		old = append(old, c)
	}
	eventually(t, "as many as it wants", func() bool { return session.Stats().Pool == 3 })
	f.say(`{"action":"flush"}`)
	for _, c := range old {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("an old connection was used")
		}
	}
	for range 3 {
		<-f.idle
	}
	eventually(t, "as many as before", func() bool { return session.Stats().Pool == 3 })
}

func TestAServerTakesNoMoreThanItSaid(t *testing.T) {
	cfg := config(t, tunnelurl.Server, tunnelurl.Plain)
	s, addr := serve(t, cfg)
	f := foreignClient(t, addr, cfg.Receives, cfg.TLS, cfg.Max)
	session := next(t, s)
	eventually(t, "as many as are allowed", func() bool { return session.Stats().Pool == cfg.Max })
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got, _ := io.ReadAll(c); len(got) != 0 {
		t.Errorf("one too many got the id % x", got)
	}
	if f.say(`{"action":"flush"}`); session.Err() != nil {
		t.Error(session.Err())
	}
	eventually(t, "fewer, as it was told", func() bool { return session.Stats().Pool == 0 })
}

package wire14

import (
	"fmt"
	"testing"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// modes runs f for each end that receives users and some codes of TLS.
func modes(t *testing.T, codes []tunnelurl.TLS, f func(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS)) {
	for _, receives := range []tunnelurl.Role{tunnelurl.Server, tunnelurl.Client} {
		for _, code := range codes {
			t.Run(fmt.Sprintf("the %s receives users, TLS %d", receives, code), func(t *testing.T) { f(t, receives, code) })
		}
	}
}

// theirs are the codes with which NodePass works, ours with which we do.
var (
	theirs = []tunnelurl.TLS{tunnelurl.Plain, tunnelurl.SelfSigned}
	ours   = append(theirs, tunnelurl.Verified)
)

func TestAForeignClientTalksToOurServer(t *testing.T) {
	modes(t, theirs, func(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS) {
		s, addr := serve(t, config(t, receives, code))
		f := foreignClient(t, addr, receives, code, 12)
		session := next(t, s)
		if session.Receives() != receives || session.Wire() != tunnelurl.V1_14 {
			t.Errorf("receives %s over %s", session.Receives(), session.Wire())
		}
		talk(t, session, f, receives == tunnelurl.Server)
	})
}

func TestOurClientTalksToAForeignServer(t *testing.T) {
	modes(t, theirs, func(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS) {
		ln := listen(t)
		cfg := config(t, "", 0)
		cfg.Dial = dialTo(ln.Addr().String())
		made := make(chan *foreign, 1)
		go func() { made <- foreignServer(t, ln, receives, code) }()
		session := dialled(t, cfg)
		if session.Receives() != receives {
			t.Errorf("receives %s", session.Receives())
		}
		talk(t, session, <-made, receives == tunnelurl.Client)
	})
}

// talk lets the two ends use each other, and checks what is said of them.
func talk(t *testing.T, session link.Session, f *foreign, weReceive bool) {
	t.Helper()
	f.prove()
	if weReceive {
		entry(t, session)
	} else {
		exit(t, session)
		f.entry()
	}
	select {
	case <-f.pongs:
	case <-time.After(within):
		t.Error("a ping was not answered")
	}
	eventually(t, "a ping", func() bool { return session.Stats().Ping > 0 })
	if session.Err() != nil {
		t.Error(session.Err())
	}
}

func TestOurEndsTalkToEachOther(t *testing.T) {
	modes(t, ours, func(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS) {
		cfg := config(t, receives, code)
		s, addr := serve(t, cfg)
		cfg.Dial = dialTo(addr)
		client := dialled(t, cfg)
		server := next(t, s)
		if receives == tunnelurl.Server {
			exit(t, client)
			entry(t, server)
		} else {
			exit(t, server)
			entry(t, client)
		}
		eventually(t, "pings", func() bool { return server.Stats().Ping > 0 && client.Stats().Ping > 0 })
		eventually(t, "pools", func() bool { return server.Stats().Pool >= 2 && client.Stats().Pool >= 2 })
	})
}

// eventually waits for what no event tells of.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	timeout := time.After(within)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("there are no %s", what)
		}
	}
}

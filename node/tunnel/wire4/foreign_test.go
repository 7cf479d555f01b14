package wire4

import (
	"context"
	"fmt"
	"io"
	"testing"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// modes runs f for each end that receives users and each code of TLS.
func modes(t *testing.T, f func(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS)) {
	for _, receives := range []tunnelurl.Role{tunnelurl.Server, tunnelurl.Client} {
		for _, code := range []tunnelurl.TLS{tunnelurl.Plain, tunnelurl.SelfSigned, tunnelurl.Verified} {
			t.Run(fmt.Sprintf("the %s receives users, TLS %d", receives, code), func(t *testing.T) { f(t, receives, code) })
		}
	}
}

func TestAForeignClientTalksToOurServer(t *testing.T) {
	modes(t, func(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS) {
		s, addr := serve(t, config(t, receives, code))
		f := foreignClient(t, addr, receives, code, 12)
		session := next(t, s)
		if session.Receives() != receives || session.Wire() != tunnelurl.V1_4 {
			t.Errorf("receives %s over %s", session.Receives(), session.Wire())
		}
		if receives == tunnelurl.Server {
			f.exit()
			entry(t, session)
		} else {
			exit(t, session)
			f.entry()
		}
	})
}

func TestOurClientTalksToAForeignServer(t *testing.T) {
	modes(t, func(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS) {
		ln := listen(t)
		cfg := config(t, "", 0)
		cfg.Dial = dialTo(ln.Addr().String())
		if code == tunnelurl.Verified {
			code = tunnelurl.SelfSigned // whom we verify is tested apart
		}
		made := make(chan *foreign, 1)
		go func() { made <- foreignServer(t, ln, receives, code) }()
		session := dialled(t, cfg)
		f := <-made
		if session.Receives() != receives {
			t.Errorf("receives %s", session.Receives())
		}
		if receives == tunnelurl.Client {
			f.exit()
			entry(t, session)
		} else {
			exit(t, session)
			f.entry()
		}
	})
}

func TestOurEndsTalkToEachOther(t *testing.T) {
	modes(t, func(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS) {
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
	})
}

// With keys whose lengths lose a digit or a letter of ids, both ends of ours
// talk all the same.
func TestOurEndsTalkWithKeysThatLoseADigit(t *testing.T) {
	for _, length := range []int{33, 50, 51, 57, 60, 61, 62, 63, 104, 105, 107, 108, 110, 111, 256, 36} {
		cfg := config(t, tunnelurl.Server, tunnelurl.Plain)
		cfg.Secret = string(make([]byte, length))
		s, addr := serve(t, cfg)
		cfg.Dial = dialTo(addr)
		exit(t, dialled(t, cfg))
		entry(t, next(t, s))
	}
}

// What was captured between two ends of 1.4.4, with ours as the client.
func TestOurClientAnswersACapture(t *testing.T) {
	ln := listen(t)
	cfg := config(t, "", 0)
	cfg.Min, cfg.Dial = 1, dialTo(ln.Addr().String())
	made := make(chan *foreign, 1)
	go func() { made <- foreignServer(t, ln, tunnelurl.Server, tunnelurl.Plain) }()
	exit(t, dialled(t, cfg))
	f := <-made
	if id := <-f.idle; id != "21d105dd" {
		t.Fatal(id)
	}
	f.say(unhex(t, "29 29 34 37 62 37 36 33 62 62 25 37 0a")...)
	c := f.get("21d105dd")
	if _, err := c.Write(unhex(t, "68 65 6c 6c 6f 2d 74 63 70")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 9)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello-tcp" {
		t.Fatalf("%q, %v", got, err)
	}
	for id := ""; id != "c92af676"; id = <-f.idle { // the third
		if id == "480079d0" {
			_ = f.get(id).Close()
		}
	}
	f.say(unhex(t, "29 29 65 3f 34 67 60 30 31 30 25 34 0a")...)
	c = f.get("c92af676")
	if _, err := c.Write(unhex(t, "68 65 6c 6c 6f 2d 75 64 70")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "HELLO-UDP" {
		t.Fatalf("%q, %v", got, err)
	}
}

// And with ours as the server; the ids are chosen by it.
func TestOurServerAnswersACapture(t *testing.T) {
	s, addr := serve(t, config(t, tunnelurl.Server, tunnelurl.Plain))
	f := foreignClient(t, addr, tunnelurl.Server, tunnelurl.Plain, 2)
	session := next(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tcp, err := session.Open(ctx, link.TCP, "")
	if err != nil {
		t.Fatal(err)
	}
	id := <-f.idle // the oldest
	f.hear(append(append([]byte{0x29, 0x29}, six(id)...), 0x25, 0x37, 0x0a)...)
	if _, err := tcp.Write([]byte("hello-tcp")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 9)
	if _, err := io.ReadFull(f.get(id), got); err != nil || string(got) != "hello-tcp" {
		t.Fatalf("%q, %v", got, err)
	}
	udp, err := session.Open(ctx, link.UDP, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := udp.Write([]byte("hello-udp")); err != nil {
		t.Fatal(err)
	}
	id = <-f.idle
	f.hear(append(append([]byte{0x29, 0x29}, six(id)...), 0x25, 0x34, 0x0a)...)
	if _, err := io.ReadFull(f.get(id), got); err != nil || string(got) != "hello-udp" {
		t.Fatalf("%q, %v", got, err)
	}
}

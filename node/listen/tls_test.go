package listen_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"signalbox/node/listen"
)

// certificate makes a server's and its client's side of TLS for 127.0.0.1.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	server = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	return server, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

// fetch gets a URL over a transport of its own.
func fetch(t *testing.T, tr *http.Transport, url string) string {
	t.Helper()
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: patience}
	res, err := client.Post(url, "text/plain", strings.NewReader("hi"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s", res.Proto, body)
}

// describe answers with the protocol and what TLS negotiated.
func describe(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil {
		fmt.Fprintf(w, "cleartext %s", r.Proto)
		return
	}
	fmt.Fprintf(w, "TLS %s %v %q", r.Proto, r.TLS.HandshakeComplete, r.TLS.NegotiatedProtocol)
}

func TestProtocols(t *testing.T) {
	serverTLS, clientTLS := certificate(t)
	secure := serve(t, listen.Config{TLS: serverTLS}, describe)
	plain := serve(t, listen.Config{}, describe)

	t.Run("HTTP/2 over TLS", func(t *testing.T) {
		got := fetch(t, &http.Transport{TLSClientConfig: clientTLS.Clone(), ForceAttemptHTTP2: true}, "https://"+secure.addr)
		if want := `HTTP/2.0 TLS HTTP/2.0 true "h2"`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("HTTP/1.1 over TLS sets Request.TLS", func(t *testing.T) {
		tc := clientTLS.Clone()
		tc.NextProtos = []string{"http/1.1"}
		got := fetch(t, &http.Transport{TLSClientConfig: tc}, "https://"+secure.addr)
		if want := `HTTP/1.1 TLS HTTP/1.1 true "http/1.1"`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("HTTP/1.1 over TLS without ALPN", func(t *testing.T) {
		got := fetch(t, &http.Transport{TLSClientConfig: clientTLS.Clone()}, "https://"+secure.addr)
		if want := `HTTP/1.1 TLS HTTP/1.1 true ""`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("HTTP/2 in cleartext by prior knowledge", func(t *testing.T) {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tr.Protocols.SetUnencryptedHTTP2(true)
		if got, want := fetch(t, tr, "http://"+plain.addr), "HTTP/2.0 cleartext HTTP/2.0"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("HTTP/1.1 in cleartext has no Request.TLS", func(t *testing.T) {
		if got, want := fetch(t, &http.Transport{}, "http://"+plain.addr), "HTTP/1.1 cleartext HTTP/1.1"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("heads over TLS are checked, in order, and the connection closed", func(t *testing.T) {
		c := dial(t, secure, clientTLS)
		c.send(get("/") + lines("GET / HTTP/1.1", "Host: a", "X : y") + next)
		c.answer("GET")
		if a := c.answer("GET"); a.status != 400 || a.reason != string(listen.ReasonSpaceBeforeColon) {
			t.Errorf("got %d %s, want 400", a.status, a.reason)
		}
		c.closed()
	})
	t.Run("HTTP/2's preface over HTTP/1 TLS is refused", func(t *testing.T) {
		c := dial(t, secure, clientTLS)
		c.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		if a := c.answer("GET"); a.status != 505 {
			t.Errorf("got %d %s, want 505", a.status, a.reason)
		}
		c.closed()
	})
	t.Run("HTTP/2's preface later on a connection is refused", func(t *testing.T) {
		c := dial(t, plain, nil)
		c.send(get("/") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		c.answer("GET")
		if a := c.answer("GET"); a.status != 505 {
			t.Errorf("got %d %s, want 505", a.status, a.reason)
		}
		c.closed()
	})
	t.Run("an upgrade over TLS", func(t *testing.T) {
		s := serve(t, listen.Config{TLS: serverTLS}, func(w http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			inner, early := listen.Unwrap(c)
			if _, ok := inner.(*tls.Conn); !ok {
				t.Errorf("inner is a %T", inner)
			}
			_, _ = io.WriteString(inner, switching+string(early))
			_ = inner.Close()
		})
		c := dial(t, s, clientTLS)
		c.send(upgrade + frames)
		c.answer("GET")
		if got, _ := io.ReadAll(c.r); string(got) != frames {
			t.Errorf("got %q, want %q", got, frames)
		}
	})
	t.Run("HTTP spoken to TLS is told so", func(t *testing.T) {
		c := dial(t, secure, nil)
		c.send(get("/"))
		if a := c.answer("GET"); a.status != 400 || !strings.Contains(a.body, "HTTPS") {
			t.Errorf("got %d %s", a.status, a.body)
		}
		c.closed()
	})
}

func TestHandshakes(t *testing.T) {
	serverTLS, clientTLS := certificate(t)

	t.Run("one that stalls keeps nobody waiting", func(t *testing.T) {
		s := serve(t, listen.Config{TLS: serverTLS}, describe)
		for range 20 {
			dial(t, s, nil).send("\x16\x03\x01")
		}
		c := dial(t, s, clientTLS)
		c.send(get("/"))
		if a := c.answer("GET"); a.status != 200 {
			t.Errorf("got %d", a.status)
		}
	})
	t.Run("those that stall are closed, and make way for others", func(t *testing.T) {
		s := serve(t, listen.Config{TLS: serverTLS, HandshakeTimeout: 50 * time.Millisecond, MaxHandshakes: 2}, describe)
		var stalled []*client
		for range 5 {
			stalled = append(stalled, dial(t, s, nil))
		}
		for _, c := range stalled {
			c.closed()
		}
		c := dial(t, s, clientTLS)
		c.send(get("/"))
		if a := c.answer("GET"); a.status != 200 {
			t.Errorf("got %d", a.status)
		}
	})
	t.Run("Close closes those under way and those not accepted", func(t *testing.T) {
		inner := tap(t)
		ln := listen.New(inner, listen.Config{TLS: serverTLS})
		s := &server{addr: inner.Addr().String()}
		first := dial(t, s, clientTLS)
		go func() { _ = first.Conn.(*tls.Conn).Handshake() }()
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// In TLS 1.2 the server's side is done before the client's.
		tls12 := clientTLS.Clone()
		tls12.MaxVersion = tls.VersionTLS12
		stalled, finished := dial(t, s, nil), dial(t, s, tls12)
		if err := finished.Conn.(*tls.Conn).Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := ln.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if n := inner.closed.Load(); n != 2 {
			t.Errorf("when Close returned, %d connections were closed, want 2", n)
		}
		for _, c := range []*client{stalled, finished} {
			if _, err := c.r.ReadByte(); err == nil || isTimeout(err) {
				t.Errorf("the connection is open: %v", err)
			}
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		go func() { _, _ = io.WriteString(accepted, "hello"); _ = accepted.Close() }()
		if got, err := io.ReadAll(first.r); err != nil || string(got) != "hello" {
			t.Errorf("an accepted connection was harmed by Close: %q, %v", got, err)
		}
	})
	t.Run("a listener nobody accepts from closes", func(t *testing.T) {
		if err := listen.New(tap(t), listen.Config{TLS: serverTLS}).Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("errors of the inner listener come out of Accept", func(t *testing.T) {
		for _, cfg := range []listen.Config{{}, {TLS: serverTLS}} {
			ln := listen.New(failing{tap(t)}, cfg)
			for range 3 {
				if _, err := ln.Accept(); !errors.Is(err, errFailing) {
					t.Errorf("got %v", err)
				}
			}
			_ = ln.Close()
		}
	})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

var errFailing = errors.New("too many open files")

// failing is a listener that can accept nothing.
type failing struct{ net.Listener }

func (failing) Accept() (net.Conn, error) { return nil, errFailing }

func TestConnContext(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ctx := context.Background()
	if listen.ConnContext(ctx, a) != ctx {
		t.Error("a connection that is not checked changed the context")
	}
	if listen.Violation(&http.Request{ProtoMajor: 1}) != nil || listen.BodyViolation(ctx) != nil {
		t.Error("a context without connection has a violation")
	}
	listen.Raw(a) // does nothing
}

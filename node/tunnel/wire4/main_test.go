package wire4

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within bounds what a test waits for.
const within = 20 * time.Second

// certificate makes one for 127.0.0.1 and the roots that verify it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), NotBefore: time.Now().Add(-time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// config is one for both ends, with the key "secret".
func config(t *testing.T, receives tunnelurl.Role, code tunnelurl.TLS) link.Config {
	cert, roots := certificate(t)
	return link.Config{
		Secret: "secret", Receives: receives, TLS: code,
		Certificate: func() (*tls.Certificate, error) { return &cert, nil },
		Roots:       roots, ServerName: "127.0.0.1", Min: 2, Max: 16,
	}
}

// serve makes a listening server of ours, and returns its address.
func serve(t *testing.T, cfg link.Config) (*Server, string) {
	t.Helper()
	ln := listen(t)
	s := NewServer(cfg)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	var handling sync.WaitGroup
	handling.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			handling.Go(func() { s.Handle(context.Background(), link.NewConn(c)) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		s.Close()
		handling.Wait()
	})
	return s, ln.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// dialTo is how a client reaches addr.
func dialTo(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
}

// next is a server's next session, closed with the test.
func next(t *testing.T, s *Server) link.Session {
	t.Helper()
	select {
	case session := <-s.Sessions():
		t.Cleanup(func() { _ = session.Close() })
		return session
	case <-time.After(within):
		t.Fatal("no session came")
		return nil
	}
}

// dialled is the session of a client of ours, closed with the test.
func dialled(t *testing.T, cfg link.Config) link.Session {
	t.Helper()
	s, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ending waits for a session to end, and says why it did.
func ending(t *testing.T, s link.Session) string {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(within):
		t.Fatal("the session did not end")
	}
	if s.Err() == nil {
		return ""
	}
	return s.Err().Error()
}

// exit is the end with the target, as whoever uses this package does it: an
// echo of TCP, and of UDP in capital letters.
func exit(t *testing.T, s link.Session) {
	var running sync.WaitGroup
	running.Go(func() {
		for {
			r, err := s.Accept(context.Background())
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = r.Stream.Close() }()
				r.Answer(nil)
				if r.Kind == link.TCP {
					_, _ = io.Copy(r.Stream, r.Stream)
					_ = r.Stream.CloseWrite()
					return
				}
				p := make([]byte, link.MaxDatagram)
				n, err := r.Stream.Read(p)
				if err != nil {
					return
				}
				if _, err := r.Stream.Write(bytes.ToUpper(p[:n])); err != nil {
					t.Error(err)
				}
				if _, err := r.Stream.Read(p); !errors.Is(err, io.EOF) {
					t.Errorf("after the answer: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = s.Close()
		running.Wait()
	})
}

// entry asks the other end's target, as whoever uses this package does it.
func entry(t *testing.T, s link.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for _, size := range []int{1, 9, 200_000} {
		tcp, err := s.Open(ctx, link.TCP, "192.0.2.1:5")
		if err != nil {
			t.Fatal(err)
		}
		askTCP(t, tcp, size)
		_ = tcp.Close()
	}
	udp, err := s.Open(ctx, link.UDP, "192.0.2.1:5")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	for _, size := range []int{1, 9, 1023, 1024, 1200, 4096, 8000, 8192} {
		askUDP(t, udp, size)
	}
}

// conn is a TCP connection that carries one user.
type conn interface {
	io.ReadWriter
	CloseWrite() error
}

// askTCP sends so many bytes, then the end of them, and reads as many back.
func askTCP(t *testing.T, c conn, size int) {
	t.Helper()
	sent := noise(size)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if err == nil {
			err = c.CloseWrite()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of TCP: %d came back, %v", size, len(got), err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("%d bytes of TCP: %v", size, err)
	}
}

// askUDP sends one datagram and reads the answer.
func askUDP(t *testing.T, c io.ReadWriter, size int) {
	t.Helper()
	sent := noise(size)
	if _, err := c.Write(sent); err != nil {
		t.Errorf("a datagram of %d bytes: %v", size, err)
		return
	}
	p := make([]byte, link.MaxDatagram)
	n, err := c.Read(p)
	if err != nil || !bytes.Equal(p[:n], bytes.ToUpper(sent)) {
		t.Errorf("a datagram of %d bytes: %d came back, %v", size, n, err)
	}
}

// noise is so many letters, of which no part is like another.
func noise(size int) []byte {
	b := make([]byte, size)
	x := uint32(size)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = 'a' + byte(x>>24)%26
	}
	return b
}

// lines are those of a log.
type lines struct {
	mu   sync.Mutex
	all  []string
	more chan struct{}
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

func (l *lines) add(_ slog.Level, text string) {
	l.mu.Lock()
	l.all = append(l.all, text)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// wait waits for a line with want in it.
func (l *lines) wait(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(within)
	for {
		if l.has(want) {
			return
		}
		select {
		case <-l.more:
		case <-timeout:
			t.Fatalf("%q is not in the log: %q", want, l.all)
		}
	}
}

func (l *lines) has(want string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(strings.Join(l.all, "\n"), want)
}

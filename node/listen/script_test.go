package listen_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"signalbox/node/listen"
)

// script is a connection that reads the same way every time: part by part, then
// to its end. It is its own listener.
type script struct {
	net.Conn
	parts []string
}

func (s *script) Read(p []byte) (int, error) {
	for len(s.parts) > 0 && s.parts[0] == "" {
		s.parts = s.parts[1:]
	}
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.parts[0])
	s.parts[0] = s.parts[0][n:]
	return n, nil
}

func (s *script) SetReadDeadline(time.Time) error { return nil }
func (s *script) Close() error                    { return nil }
func (s *script) Addr() net.Addr                  { return nil }
func (s *script) Accept() (net.Conn, error)       { return s, nil }

// heard is what a reader of a connection got.
type heard struct {
	text string
	head listen.Reason // of a refused head
	says string        // its method and path
	body listen.Reason // of a refused body
}

// hear reads a connection that is sent parts to its end, size bytes at a time.
func hear(t testing.TB, size int, parts ...string) heard {
	t.Helper()
	return hearAll(t, []int{size}, parts...)
}

// hearAll is hear with a size for each Read, in turn. As net/http does, it cares
// for nothing but the byte that a read of one byte may bring.
func hearAll(t testing.TB, sizes []int, parts ...string) (h heard) {
	t.Helper()
	c, err := listen.New(&script{parts: parts}, listen.Config{}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := 0; ; i++ {
		p := make([]byte, sizes[i%len(sizes)])
		n, err := c.Read(p)
		text.Write(p[:n])
		if len(p) == 1 {
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if n == 0 || err != nil {
			t.Fatalf("Read: %d, %v", n, err)
		}
	}
	h.text = text.String()
	ctx := listen.ConnContext(context.Background(), c)
	r := (&http.Request{ProtoMajor: 1}).WithContext(ctx)
	if bad := listen.Violation(r); bad != nil {
		h.head, h.says = bad.Reason, bad.Method+" "+bad.Path
	}
	if bad := listen.BodyViolation(ctx); bad != nil {
		h.body = bad.Reason
	}
	return h
}

func TestSplits(t *testing.T) {
	streams := map[string]string{
		"an HTTP/2 preface":       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\n\n",
		"an unfinished preface":   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
		"a POST beside a preface": lines("PR HTTP/1.1", "Host: a"),
		"an upgrade, then a request": lines("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: x") +
			"\r\n" + get("/b"),
		"an upgrade, then a bad request": lines("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: x") +
			"\x81\x00" + get("/b"),
	}
	for _, tt := range listen.BadHeads {
		streams[tt.Name] = get("/first") + tt.Head + next
	}
	for _, tt := range listen.GoodHeads {
		streams[tt.Name] = tt.Head + tt.Head + get("/last")
	}
	for _, tt := range listen.BadBodies {
		streams[tt.Name] = lines("POST /a HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + tt.Body + next
	}
	for name, stream := range streams {
		if len(stream) > 4000 {
			continue
		}
		t.Run(name+" reads the same wherever it is split", func(t *testing.T) {
			t.Parallel()
			want := hear(t, 4096, stream)
			for _, size := range []int{4096, 1000, 14} {
				for i := range stream {
					if got := hear(t, size, stream[:i], stream[i:]); got != want {
						t.Fatalf("split at %d, read by %d: got %q, want %q", i, size, got, want)
					}
				}
			}
			bytes := strings.Split(stream, "")
			if got := hear(t, 4096, bytes...); got != want {
				t.Fatalf("byte by byte: got %q, want %q", got, want)
			}
		})
	}
}

func TestLittleIsHeldBack(t *testing.T) {
	early := strings.Split(strings.Repeat(strings.Repeat("x", 999)+" ", 1000), " ")
	in := &script{parts: append([]string{upgrade}, early...)}
	c, err := listen.New(in, listen.Config{}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4096)
	if n, err := c.Read(p); string(p[:n]) != upgrade || err != nil {
		t.Fatalf("got %q, %v; want the head", p[:n], err)
	}
	if n, err := c.Read(p[:1]); n != 0 || err != nil {
		t.Errorf("the read ahead gave %d bytes, %v", n, err)
	}
	if len(in.parts) < 990 {
		t.Errorf("%d kB were held back", 1000-len(in.parts))
	}
	_, held := listen.Unwrap(c)
	if got, want := string(held)+strings.Join(in.parts, ""), strings.Join(early, ""); got != want {
		t.Errorf("%d bytes were held back or left, want %d", len(got), len(want))
	}
}

func TestNothingAfterTheStandIn(t *testing.T) {
	good := get("/first")
	h := hear(t, 4096, good+"GET / HTTP/1.1\n\n"+next+next)
	if !strings.HasPrefix(h.text, good) || strings.Count(h.text, "\r\n\r\n") != 2 || !strings.HasSuffix(h.text, "Connection: close\r\n\r\n") {
		t.Errorf("got %q, want the good head, the stand-in, and nothing else", h.text)
	}
}

// FuzzConn checks that neither the sizes of packets nor those of reads make a
// difference to what is read from a connection.
func FuzzConn(f *testing.F) {
	for i, tt := range listen.BadHeads {
		f.Add(tt.Head, []byte{byte(i), 100, 3}, []byte{1, 200, 14})
	}
	for i, tt := range listen.GoodHeads {
		f.Add(tt.Head+tt.Head, []byte{byte(i), 0, 60}, []byte{1, 255})
	}
	for i, tt := range listen.BadBodies {
		f.Add(lines("POST /a HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")+tt.Body, []byte{byte(i)}, []byte{20, 1})
	}
	f.Add(upgrade+get("/b")+upgrade+frames, []byte{90, 0}, []byte{1, 255, 20})
	f.Fuzz(func(t *testing.T, text string, packets, reads []byte) {
		if len(text) > 1<<16 || len(packets) == 0 {
			return
		}
		var parts []string
		rest := text
		for i := 0; rest != ""; i++ {
			n := min(len(rest), 1+int(packets[i%len(packets)]))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		sizes := []int{4096} // so that not all are of one byte
		for _, size := range reads {
			sizes = append(sizes, 1+int(size)*16)
		}
		want := hear(t, 4096, text)
		if got := hearAll(t, sizes, parts...); got != want {
			t.Fatalf("read by %v in packets of %v: got %q, want %q", sizes, packets, got, want)
		}
	})
}

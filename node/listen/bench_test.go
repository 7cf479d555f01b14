package listen

import (
	"net"
	"strings"
	"testing"
	"time"
)

// browserHead is what a browser sends through a proxy to JupyterLab.
var browserHead = strings.ReplaceAll(`GET /user/ana/api/contents/notebooks?type=directory&content=1&hash=0&1718031337861 HTTP/1.1
Host: hub.example.org
Connection: keep-alive
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36
Content-Type: application/json
Accept: */*
Referer: https://hub.example.org/user/ana/lab/tree/notebooks
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9
Cookie: _xsrf=2|1f6d1b1c|9f3d0e0b3a3f4c5d6e7f8091a2b3c4d5|1718031000; jupyterhub-session-id=0123456789abcdef0123456789abcdef

`, "\n", "\r\n")

// endless is a connection on which the same bytes come again and again.
type endless struct {
	net.Conn
	b    string
	most int // bytes read at once
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), e.most)], e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}

func (*endless) SetReadDeadline(time.Time) error { return nil }

func BenchmarkHead(b *testing.B) {
	small := "GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n"
	post := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	for _, bm := range []struct {
		name, stream string
		most, size   int // bytes per packet, and per Read
	}{
		{"small", small, 4096, 4096},
		{"browser", browserHead, 4096, 4096},
		{"chunked", post, 4096, 4096},
		{"split", browserHead, len(browserHead)/2 + 1, 4096},
		{"pipelined", strings.Repeat(small, 10), 4096, 4096},
		{"held", browserHead, 4096, 14},
	} {
		b.Run(bm.name, func(b *testing.B) {
			var c checkedConn
			c.setUp(&endless{b: bm.stream, most: bm.most}, Config{}.withDefaults(), false)
			p := make([]byte, bm.size)
			b.SetBytes(int64(len(bm.stream)))
			b.ReportAllocs()
			for b.Loop() {
				for got := 0; got < len(bm.stream); {
					n, err := c.Read(p)
					if err != nil || c.standIn != "" {
						b.Fatal(err, c.standIn)
					}
					got += n
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	head1 := []byte(browserHead)
	b.SetBytes(int64(len(head1)))
	for b.Loop() {
		var h head
		if n, v := h.parse(head1, DefaultMaxHeaderBytes); n != len(head1) {
			b.Fatal(n, v)
		}
	}
}

// Reading a request in steady state allocates nothing.
func TestReadDoesNotAllocate(t *testing.T) {
	for name, most := range map[string]int{"whole": 4096, "split": 100} {
		var c checkedConn
		c.setUp(&endless{b: browserHead, most: most}, Config{}.withDefaults(), false)
		p := make([]byte, 4096)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := c.Read(p); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per request", name, n)
		}
	}
}

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/proxy"
	"signalbox/node/route"
)

// fixed is an upstream that answers every request alike, as cheaply as Go can.
func fixed(b *testing.B, answer string) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.Cleanup(func() { _ = c.Close() })
			go func() {
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == len("\r\n") {
						_, _ = io.WriteString(c, answer)
					}
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

// BenchmarkGet is a keep-alive GET of a kibibyte: client, node and upstream
// together, in one process.
func BenchmarkGet(b *testing.B) {
	const body = 1 << 10
	for name, head := range map[string]string{
		"known-length": "Content-Length: 1024\r\n\r\n" + sizef(body),
		"chunked":      "Transfer-Encoding: chunked\r\n\r\n400\r\n" + sizef(body) + "\r\n0\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			n := plain(b)
			n.route("/user/name", fixed(b, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: then\r\n"+head))
			request := "GET /user/name/api/x HTTP/1.1\r\nHost: h\r\nUser-Agent: load\r\nAccept: */*\r\nCookie: a=b\r\n\r\n"
			c := n.dial()
			_ = c.SetDeadline(time.Time{})
			b.ReportAllocs()
			for b.Loop() {
				c.raw(request)
				res, err := http.ReadResponse(c.r, nil)
				if err != nil {
					b.Fatal(err)
				}
				if m, err := io.Copy(io.Discard, res.Body); err != nil || m != body {
					b.Fatal(m, err)
				}
				_ = res.Body.Close()
			}
		})
	}
}

// BenchmarkUpload is a body of a mebibyte.
func BenchmarkUpload(b *testing.B) {
	n := plain(b)
	n.route("/", web(b, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	c := n.dial()
	_ = c.SetDeadline(time.Time{})
	request := "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("x", 1<<20)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		c.raw(request)
		if res, _ := c.answer(); res.StatusCode != 200 {
			b.Fatal(res.StatusCode)
		}
	}
}

// BenchmarkDownload is a body of a mebibyte, the other way.
func BenchmarkDownload(b *testing.B) {
	n := plain(b)
	n.route("/", fixed(b, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"+strings.Repeat("x", 1<<20)))
	c := n.dial()
	_ = c.SetDeadline(time.Time{})
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		c.raw("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.head()
		if _, err := io.CopyN(io.Discard, c.r, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStream is a mebibyte through a connection whose protocol was
// switched.
func BenchmarkStream(b *testing.B) {
	n := plain(b)
	o := scripted(b)
	n.route("/", o.url)
	c, up := n.join(o, "/")
	_, _ = c.SetDeadline(time.Time{}), up.SetDeadline(time.Time{})
	message := "\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00" + strings.Repeat("x", 1<<20) // one frame
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		go up.raw(message)
		if _, err := io.CopyN(io.Discard, c.r, int64(len(message))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSetTable serves a whole state, and then one more route.
func BenchmarkSetTable(b *testing.B) {
	const routes = 100_000
	n := plain(b)
	recs := make([]*signalboxv1.Route, routes)
	for i := range recs {
		recs[i] = n.record(fmt.Sprintf("/user/name-%06d", i), "http://127.0.0.1:1")
	}
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			h := proxy.New(proxy.Config{Pools: n.pools})
			h.SetTable(route.New(route.Config{}).Whole(recs))
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/routes, "B/route")
			runtime.KeepAlive(h)
		}
	})
	n.put(recs...)
	b.Run("one-more", func(b *testing.B) {
		rec := n.record("/new", "http://127.0.0.1:1")
		b.ReportAllocs()
		for b.Loop() {
			n.put(rec)
			n.remove("r.new")
		}
	})
}

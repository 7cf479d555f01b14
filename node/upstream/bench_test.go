package upstream

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// The cost of a keep-alive exchange, beside that of net/http's own pool. Both
// sides of the socket are in the figures, and alike.
func BenchmarkGet(b *testing.B) {
	compare(b, func(u *url.URL) *http.Request {
		return &http.Request{Method: "GET", URL: u, Host: u.Host, Header: http.Header{"User-Agent": nil}}
	})
}

func BenchmarkPost(b *testing.B) {
	compare(b, func(u *url.URL) *http.Request {
		return &http.Request{
			Method: "POST", URL: u, Host: u.Host, Header: http.Header{"User-Agent": nil},
			Body: io.NopCloser(io.LimitReader(endless{}, 1024)), ContentLength: 1024,
		}
	})
}

func compare(b *testing.B, request func(*url.URL) *http.Request) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "0123456789abcdef")
	}))
	b.Cleanup(srv.Close)
	u, _ := url.Parse(srv.URL)
	discard := func(b *testing.B, resp *http.Response, err error) {
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}

	tr := &http.Transport{
		DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: 256, DisableCompression: true,
		ResponseHeaderTimeout: defaultHeader,
	}
	b.Cleanup(tr.CloseIdleConnections)
	transport := func(b *testing.B) {
		resp, err := tr.RoundTrip(request(u))
		discard(b, resp, err)
	}
	r := New(Config{})
	b.Cleanup(func() { _ = r.Close(b.Context()) })
	p, err := r.Acquire(Target{Address: strings.TrimPrefix(srv.URL, "http://")})
	if err != nil {
		b.Fatal(err)
	}
	pool := func(b *testing.B) {
		resp, _, err := p.RoundTrip(request(u), Options{})
		discard(b, resp, err)
	}
	for _, side := range []struct {
		name string
		get  func(*testing.B)
	}{{"transport", transport}, {"pool", pool}} {
		b.Run(side.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				side.get(b)
			}
		})
		b.Run(side.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					side.get(b)
				}
			})
		})
	}
}

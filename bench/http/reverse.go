package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"

	"signalbox/bench/program"
)

// plain is the name of what net/http does by itself, among the proxies.
const plain = "httputil.ReverseProxy"

// beReverse is net/http's own reverse proxy, tuned, with nothing around it:
// what a node costs beyond it is for what it does beyond it. Its configuration
// is the origin's address. Asked for "address", it answers with its own.
func beReverse(ctx context.Context, config []byte, serve func(func(string) (any, error)) error) error {
	var to string
	if err := json.Unmarshal(config, &to); err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport:  &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true},
		BufferPool: new(buffers),
		ErrorLog:   log.New(io.Discard, "", 0), // clients that leave are no news
	}, ReadHeaderTimeout: program.Patience}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ln) // says only that it was closed
	}()
	err = serve(func(question string) (any, error) {
		if question == "address" {
			return ln.Addr().String(), nil
		}
		return nil, fmt.Errorf("a proxy has no answer to %q", question)
	})
	_ = server.Close()
	<-ended
	return err
}

// buffers are shared by all copying.
type buffers struct{ pool sync.Pool }

// Get returns a buffer.
func (b *buffers) Get() []byte {
	if free, ok := b.pool.Get().(*[]byte); ok {
		return *free
	}
	return make([]byte, 32<<10)
}

// Put takes it back.
func (b *buffers) Put(free []byte) { b.pool.Put(&free) }

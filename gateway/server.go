package gateway

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Limits of a server, each against clients that hold a connection and do
// nothing with it.
const (
	headerTimeout = 10 * time.Second // for a request's header
	bodyTimeout   = 60 * time.Second // for its body
	answerTimeout = 5 * time.Minute  // for taking the answer, waiting for it included
	idleTimeout   = 75 * time.Second // between requests
	maxHeader     = 64 << 10         // bytes
)

// Server returns a server for the gateway, for the caller to give a listener
// to. A TLS configuration is used by ServeTLS; nil is for Serve. Events and
// logs have no end; they end on Shutdown.
func (g *Gateway) Server(conf *tls.Config) *http.Server {
	srv := &http.Server{
		Handler:           g,
		TLSConfig:         conf,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	srv.RegisterOnShutdown(g.Close)
	return srv
}

// Close ends the responses that would not end by themselves.
func (g *Gateway) Close() {
	g.events.Close()
	g.rest.Close()
	if g.nodepass != nil {
		g.nodepass.Close()
	}
}

// timedBody is a request's body that has to come in time. The server's own
// timeout for reading is no use: it goes on counting while we wait for nodes,
// and would end the request.
type timedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

// withDeadlines bounds how long r's body and its answer may take. Events set
// deadlines of their own.
func withDeadlines(w http.ResponseWriter, r *http.Request) *http.Request {
	rc := http.NewResponseController(w)
	if rc.SetWriteDeadline(time.Now().Add(answerTimeout)) != nil {
		return r // such as a recorder in a test
	}
	if r.Body == nil || r.Body == http.NoBody || rc.SetReadDeadline(time.Now().Add(bodyTimeout)) != nil {
		return r
	}
	timed := r.WithContext(r.Context())
	timed.Body = &timedBody{ReadCloser: r.Body, rc: rc}
	return timed
}

// Read takes the deadline away at the body's end.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.rc.SetReadDeadline(time.Time{}) // it was set, so it can be
	}
	return n, err
}

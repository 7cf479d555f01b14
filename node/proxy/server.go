package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"signalbox/node/listen"
)

// Bounds of the HTTP server in front of a Handler that nobody had to set yet.
const (
	// headerTimeout bounds reading a request's head. listen bounds it more
	// tightly once its first bytes are there.
	headerTimeout = 60 * time.Second
	// streamWindow is how much of one HTTP/2 request body may be under way or
	// wait for a slow upstream, connWindow the same of a connection's all:
	// enough for a fast upload over a long line.
	streamWindow = 1 << 20
	connWindow   = 8 << 20
	// maxStreams is how many requests an HTTP/2 client may have going on.
	maxStreams = 250
	// pingAfter and pingTimeout find HTTP/2 clients that are gone.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// Server returns an HTTP server for one listener of h, to be started with
// Serve on a [listen.Listener]. It speaks HTTP/1.1, HTTP/2 over TLS and HTTP/2
// by prior knowledge, and bounds no body in time. It may be given an Addr;
// nothing else in it should be changed.
func Server(h *Handler, listener string) *http.Server {
	f := h.front(listener)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:           f,
		Protocols:         &protocols,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    listen.ServerMaxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connWindow,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
		BaseContext:                  func(net.Listener) context.Context { return h.base },
		ConnContext:                  listen.ConnContext,
		ConnState:                    f.idle.state,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(h.cfg.Log.Handler(), slog.LevelDebug),
	}
	return srv
}

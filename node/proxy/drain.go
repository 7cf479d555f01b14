package proxy

import "context"

// Drain says that the node is about to stop: from now on every answer asks its
// client to come back on another connection. HTTP/2 clients are told by
// http.Server.Shutdown.
func (h *Handler) Drain() { h.draining.Store(true) }

// Close waits for the streams whose protocol was switched, which
// http.Server.Shutdown knows nothing of. When ctx ends before they do, they
// are stopped, WebSockets with the status 1001, and Close returns the cause.
// When it returns, none is left. Close is called once, after or beside
// Shutdown.
func (h *Handler) Close(ctx context.Context) error { return h.streams.close(ctx) }

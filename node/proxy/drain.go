package proxy

// Drain says that the node is about to stop: from now on every answer asks its
// client to come back on another connection. HTTP/2 clients are told by
// http.Server.Shutdown.
func (h *Handler) Drain() { h.draining.Store(true) }

// Close ends what still runs. Streams whose protocol was switched, which
// http.Server.Shutdown knows nothing of, are stopped, WebSockets with the status
// 1001; when Close returns, none is left, and no more begin. After that the
// exchanges on a [Server] are told to end: with a 503 where no answer has begun,
// else abruptly. Close does not wait for these, as Shutdown does; who then calls
// http.Server.Close has told them why before they notice that the client's
// connection is gone.
func (h *Handler) Close() {
	h.streams.close()
	h.end(errShutdown)
}

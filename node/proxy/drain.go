package proxy

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Drain says that the node is about to stop: from now on every answer asks its
// client to come back on another connection. HTTP/2 clients are told by
// http.Server.Shutdown.
func (h *Handler) Drain() { h.draining.Store(true) }

// EndRunning ends what began before a moment, as [Handler.Close] does, and waits
// for none of it. What begins after it is carried, but no protocol is switched
// until Resume.
func (h *Handler) EndRunning(before time.Time) {
	h.noUpgrades.Store(true)
	for _, l := range h.lives() {
		for _, x := range l.exchanges() {
			if x.begun.Before(before) {
				x.stop(errShutdown)
			}
		}
	}
}

// Resume lets protocols be switched again.
func (h *Handler) Resume() { h.noUpgrades.Store(false) }

// Running is how many exchanges run, those whose protocol was switched among
// them; Begun how many ever did. A request for which there is no route is none.
func (h *Handler) Running() int64 { return h.running.now.Load() }

// Begun is described at Running.
func (h *Handler) Begun() int64 { return h.running.begun.Load() }

// lives are all routes' that may have running exchanges.
func (h *Handler) lives() []*life {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.running.removed()
	for _, r := range h.table.Load().All() {
		all = append(all, r.Runtime.(*served).life)
	}
	return all
}

// A tally is of what runs, over all routes. Its zero value is none.
type tally struct {
	now, begun atomic.Int64

	mu sync.Mutex
	// outlived are lives of removed routes on which something runs still.
	outlived map[*life]struct{}
}

// keep and drop say whether a removed route still has running exchanges.
func (t *tally) keep(l *life) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.outlived == nil {
		t.outlived = map[*life]struct{}{}
	}
	t.outlived[l] = struct{}{}
}

func (t *tally) drop(l *life) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.outlived, l)
}

func (t *tally) removed() []*life {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.outlived))
}

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
	h.pages.CloseIdleConnections()
}

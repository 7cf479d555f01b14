package pool

import (
	"context"
	"net"
	"sync"
	"time"
)

// Visits are the connections that a server is finding out about. The zero value
// has none. It is safe for concurrent use.
type Visits struct {
	mu      sync.Mutex
	closed  bool
	cancels map[net.Conn]context.CancelFunc
	running sync.WaitGroup // added to while not closed
}

// Attend runs f with a connection, on which everything fails when ctx ends or
// the visits are closed. It says whether it did: it closes the connection where
// it is too late.
func (v *Visits) Attend(ctx context.Context, conn net.Conn, f func(context.Context)) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !v.begin(conn, cancel) {
		_ = conn.Close()
		return false
	}
	defer v.finish(conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	f(ctx)
	return true
}

func (v *Visits) begin(conn net.Conn, cancel context.CancelFunc) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	if v.cancels == nil {
		v.cancels = map[net.Conn]context.CancelFunc{}
	}
	v.cancels[conn] = cancel
	v.running.Add(1)
	return true
}

func (v *Visits) finish(conn net.Conn) {
	v.mu.Lock()
	delete(v.cancels, conn)
	v.mu.Unlock()
	v.running.Done()
}

// Cancel ends all visits, and lets no more begin. It says whether it is the
// first to do so. Wait waits for them.
func (v *Visits) Cancel() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.closed = true
	for _, cancel := range v.cancels {
		cancel()
	}
	return true
}

// Wait waits for all visits, after Cancel.
func (v *Visits) Wait() { v.running.Wait() }

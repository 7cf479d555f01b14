package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A crowd is users who stay connected.
type crowd struct {
	moved   atomic.Int64 // bytes that have come through
	conns   []net.Conn
	family  []int // whose CPU time is measured while bytes flow
	running sync.WaitGroup
}

// open connects users, and then has bytes flow between them and the target,
// and waits until they do.
func (c *crowd) open(ctx context.Context, o order) error {
	do, move := byte(sinks), pour
	if o.Down {
		do, move = pours, func(conn net.Conn) { drink(conn, &c.moved) }
	}
	for range o.Count {
		conn, err := knock(ctx, o.Addr, do)
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conn)
	}
	var err error
	if c.family, err = o.family(); err != nil {
		return err
	}
	before := c.moved.Load()
	for _, conn := range c.conns {
		c.running.Go(func() { move(conn) })
	}
	for end := time.Now().Add(patience); c.moved.Load()-before < int64(o.Count)*chunk; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("in %v only %d bytes came through %s", patience, c.moved.Load()-before, o.Addr)
		}
	}
	return nil
}

// flow counts for a while.
func (c *crowd) flow(d time.Duration) counted {
	before := c.moved.Load()
	<-time.After(d)
	return counted{Count: c.moved.Load() - before}
}

// hold connects users who do nothing but prove that the target is there. It
// gives up when one cannot, or after a while.
func (c *crowd) hold(ctx context.Context, o order) (h counted) {
	const atOnce = 16
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var mu sync.Mutex // guards conns, h and left
	left := o.Count
	var running sync.WaitGroup
	for range atOnce {
		running.Go(func() {
			for {
				mu.Lock()
				mine := left > 0 && h.Failed == 0
				left--
				mu.Unlock()
				if !mine || ctx.Err() != nil {
					return
				}
				conn, err := knock(ctx, o.Addr, answers)
				mu.Lock()
				if err != nil {
					h.Failed++
					h.Err = err.Error()
				} else {
					h.Count++
					c.conns = append(c.conns, conn)
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()
	if h.Failed == 0 && h.Count < int64(o.Count) {
		h.Err = fmt.Sprintf("that took longer than %v", 2*patience)
	}
	return h
}

// knock connects one user, says what the target is to do, and waits for its
// answer.
func knock(ctx context.Context, addr string, do byte) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	b := []byte{do}
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = c.Write(b)
	if err == nil {
		_, err = io.ReadFull(c, b)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}

// close ends all connections.
func (c *crowd) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
	c.running.Wait()
}

// visit makes short connections.
func visit(ctx context.Context, o order) (v counted) {
	var mu sync.Mutex // guards v
	var running sync.WaitGroup
	begun := time.Now()
	for range o.Count {
		running.Go(func() {
			var n int64
			var failed error
			for failed == nil && time.Since(begun) < o.For {
				var c net.Conn
				if c, failed = knock(ctx, o.Addr, answers); failed == nil {
					_ = c.Close()
					n++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			v.Count += n
			if failed != nil {
				v.Failed++
				v.Err = failed.Error()
			}
		})
	}
	running.Wait()
	return v
}

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// overdue is how long a datagram is waited for before it is lost.
const overdue = 200 * time.Millisecond

// users connects sockets, and sees that datagrams of each come back: so each
// has its place in whatever is between when it is measured.
func users(ctx context.Context, o order) (all []*net.UDPConn, err error) {
	defer func() {
		if err != nil {
			leave(all)
		}
	}()
	for range o.Count {
		c, err := new(net.Dialer).DialContext(ctx, "udp", o.Addr)
		if err != nil {
			return all, err
		}
		u := c.(*net.UDPConn)
		_ = u.SetReadBuffer(4 << 20)
		all = append(all, u)
		came := false
		for try := uint64(0); try < 25 && !came; try++ {
			came = there(u, make([]byte, o.Size), ^try)
		}
		if !came {
			return all, fmt.Errorf("no datagram comes back through %s", o.Addr)
		}
	}
	return all, nil
}

func leave(all []*net.UDPConn) {
	for _, u := range all {
		_ = u.Close()
	}
}

// there sends a datagram with a mark, and reports whether it comes back.
func there(u *net.UDPConn, buf []byte, mark uint64) bool {
	binary.BigEndian.PutUint64(buf, mark)
	_, _ = u.Write(buf)
	_ = u.SetReadDeadline(time.Now().Add(overdue))
	for {
		n, err := u.Read(buf)
		if err != nil {
			return false
		}
		if n == len(buf) && binary.BigEndian.Uint64(buf) == mark { // and not one that was late
			return true
		}
	}
}

// echo has every user send a datagram, and the next when it is back.
func echo(ctx context.Context, o order) (counted, error) {
	all, err := users(ctx, o)
	if err != nil {
		return counted{}, err
	}
	defer leave(all)
	family, err := o.family()
	if err != nil {
		return counted{}, err
	}
	c, err := o.metered(living(family), func() counted {
		var back atomic.Int64
		var running sync.WaitGroup
		begun := time.Now()
		for _, u := range all {
			running.Go(func() {
				buf := make([]byte, o.Size)
				for mark := uint64(0); time.Since(begun) < o.For; mark++ {
					if there(u, buf, mark) {
						back.Add(1)
					}
				}
			})
		}
		running.Wait()
		return counted{Count: back.Load()}
	})
	c.Offered, c.Returned = offer(all, o)
	return c, err
}

// offer sends at a rate that nothing slows down, and sees what is lost.
func offer(all []*net.UDPConn, o order) (sent, returned int64) {
	var back atomic.Int64
	var running sync.WaitGroup
	begun := time.Now()
	for _, u := range all {
		_ = u.SetReadDeadline(begun.Add(o.For + 2*overdue))
		running.Go(func() {
			buf := make([]byte, o.Size+1)
			for {
				n, err := u.Read(buf)
				switch {
				case errors.Is(err, net.ErrClosed) || isTimeout(err):
					return
				case n == o.Size:
					back.Add(1)
				}
			}
		})
	}
	sent = paced(begun, o, all)
	running.Wait()
	return sent, min(back.Load(), sent) // one may be left of those before
}

// paced sends a rate's datagrams of a millisecond at a time, and of more when
// it is late.
func paced(begun time.Time, o order, all []*net.UDPConn) (sent int64) {
	buf := make([]byte, o.Size)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Since(begun) < o.For {
		for due := int64(time.Since(begun).Seconds() * float64(o.Rate)); sent < due; sent++ {
			_, _ = all[sent%int64(len(all))].Write(buf)
		}
		<-tick.C
	}
	return sent
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

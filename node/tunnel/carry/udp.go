package carry

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"signalbox/node/tunnel/link"
)

// A Side that says how long its next datagram is, when it has come, lets nobody
// hold a buffer before that. Only who calls Read calls Next, which may say more
// than there will be.
type announcing interface {
	Next() (size int, err error)
}

// A Side of UDP: every Read returns one datagram and every Write is one.
type Side interface {
	io.ReadWriteCloser
}

// UDP moves datagrams between the two sides until one ends, nothing has moved
// for too long, or ctx has ended, and closes both. Datagrams that one side
// cannot take are lost, which dropped is told of. The error is why it ended,
// nil when a side ended in good order.
func (c *Carrier) UDP(ctx context.Context, near, far Side, received, sent Count, dropped func(error)) error {
	limit := c.UDPIdle
	if limit <= 0 {
		limit = udpIdle
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := watch(limit, func() { cancel(ErrIdle) })
	defer idle.stop()
	defer atEnd(ctx, func() {
		_ = near.Close()
		_ = far.Close()
	})()

	var back sync.WaitGroup
	back.Go(func() { cancel(copyUDP(ctx, near, far, c.Out, idle.counting(sent), dropped)) })
	cancel(copyUDP(ctx, far, near, c.In, idle.counting(received), dropped))
	back.Wait()
	_ = near.Close()
	_ = far.Close()
	if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// copyUDP copies one direction until its source ends, and says how that did.
func copyUDP(ctx context.Context, dst, src Side, limit *Rate, count Count, dropped func(error)) error {
	for {
		err := copyDatagram(ctx, dst, src, limit, count)
		var lost *lostError
		switch {
		case errors.As(err, &lost):
			dropped(lost.error)
		case err != nil:
			return err
		}
	}
}

// A lostError is why a datagram was lost, and the session goes on.
type lostError struct{ error }

// copyDatagram copies one. It holds a buffer only from when that has come, where
// the source can say so: most users say nothing most of the time.
func copyDatagram(ctx context.Context, dst, src Side, limit *Rate, count Count) error {
	size := link.MaxDatagram
	if a, ok := src.(announcing); ok {
		var err error
		if size, err = a.Next(); err != nil {
			return refused(err)
		}
	}
	buf, done := room(size)
	defer done()
	n, err := src.Read(buf)
	if err != nil {
		return refused(err)
	}
	if err := limit.Wait(ctx, n); err != nil {
		return err
	}
	if _, err := dst.Write(buf[:n]); errors.Is(err, net.ErrClosed) || errors.Is(err, link.ErrEnded) {
		return err
	} else if err != nil {
		return &lostError{err}
	}
	count(n)
	return nil
}

// refused is what an error of reading is: it may be of a datagram that was sent
// before, which nobody took.
func refused(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return &lostError{err}
	}
	return err
}

// room returns a buffer for a datagram of a size, and what gives it back.
func room(size int) (buf []byte, done func()) {
	if size <= sip {
		b := sips.Get().(*[sip]byte)
		return b[:], func() { sips.Put(b) }
	}
	b := gulps.Get().(*[gulp]byte)
	return b[:], func() { gulps.Put(b) }
}

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

// datagrams are buffers that any datagram fits into.
var datagrams = sync.Pool{New: func() any { return new([link.MaxDatagram + 1]byte) }}

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
	buf := datagrams.Get().(*[link.MaxDatagram + 1]byte)
	defer datagrams.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if errors.Is(err, syscall.ECONNREFUSED) { // nobody took one that was sent before
			dropped(err)
			continue
		}
		if err != nil {
			return err
		}
		if err := limit.Wait(ctx, n); err != nil {
			return err
		}
		if _, err := dst.Write(buf[:n]); errors.Is(err, net.ErrClosed) || errors.Is(err, link.ErrEnded) {
			return err
		} else if err != nil {
			dropped(err)
			continue
		}
		count(n)
	}
}

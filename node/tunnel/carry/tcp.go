// Package carry moves users' bytes: TCP connections and datagrams between the
// socket that is not the tunnel's and whatever is on its far side. It knows
// limits, idle times and targets, and counts what moves while it moves.
package carry

import (
	"context"
	"errors"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
)

// A Count is told of payload that has moved, in bytes.
type Count func(n int)

// A Carrier holds what an instance's connections share. The zero value carries
// without limits. It is safe for concurrent use.
type Carrier struct {
	// In bounds what goes from the near side to the far one, Out the other
	// direction; nil does not.
	In, Out *Rate
	// Idle ends a TCP connection on which nothing moved for so long in either
	// direction; 0 never does.
	Idle time.Duration
	// UDPIdle does so with UDP. Default 30 s, as NodePass 1.14 has it.
	UDPIdle time.Duration
}

// udpIdle is how long a UDP session lasts in silence.
const udpIdle = 30 * time.Second

// ErrIdle says that nothing moved for as long as is allowed.
var ErrIdle = errors.New("nothing came for too long")

// TCP copies between the two sides until both directions have ended, one has
// failed, or ctx has ended, and closes both. near is the side that is not the
// tunnel's: received is told of what was read there, sent of what was written.
// The end of one direction is passed on and leaves the other as it is. The
// error is nil when both sides ended in good order.
func (c *Carrier) TCP(ctx context.Context, near, far link.Stream, received, sent Count) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := watch(c.Idle, func() { cancel(ErrIdle) })
	defer idle.stop()
	// What is cut must not look complete to whoever reads it.
	defer atEnd(ctx, func() { abort(near); abort(far) })()

	var back sync.WaitGroup
	back.Go(func() {
		if err := copyTCP(ctx, near, far, c.Out, idle.counting(sent)); err != nil {
			cancel(err)
		}
	})
	err := copyTCP(ctx, far, near, c.In, idle.counting(received))
	if err != nil {
		cancel(err)
	}
	back.Wait()
	failed := context.Cause(ctx)
	if failed == nil {
		_ = near.Close()
		_ = far.Close()
	}
	return failed
}

// abort closes a side so that, where that can be said, its peer sees that
// something was cut.
func abort(s link.Stream) {
	if linger, ok := s.(interface{ SetLinger(sec int) error }); ok {
		_ = linger.SetLinger(0)
	}
	_ = s.Close()
}

// atEnd calls f when ctx ends, unless what it returns was called before; that
// waits for f if it runs.
func atEnd(ctx context.Context, f func()) (forget func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

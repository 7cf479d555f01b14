package carry

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
)

const (
	// sip is how much is read at a time of a side that says little, in bytes:
	// thousands of idle connections hold no more than that each.
	sip = 2 << 10
	// gulp is how much is read at a time of one that says much.
	gulp = 64 << 10
	// splicing is for how long the kernel may copy by itself, and spliced how
	// much, until that is counted.
	splicing = 500 * time.Millisecond
	spliced  = 4 << 20
)

// sips and gulps are buffers for copying.
var (
	sips  = sync.Pool{New: func() any { return new([sip]byte) }}
	gulps = sync.Pool{New: func() any { return new([gulp]byte) }}
)

// copyTCP copies one direction and passes its end on.
func copyTCP(ctx context.Context, dst, src link.Stream, limit *Rate, count Count) error {
	to, ok1 := dst.(*net.TCPConn)
	from, ok2 := src.(*net.TCPConn)
	kernel := ok1 && ok2 && limit == nil
	for much := 0; ; {
		n, most, err := copyOnce(ctx, dst, src, limit, much > 0)
		if n > 0 {
			count(n)
		}
		if kernel && much > 1 && n == most && err == nil {
			n, err = splice(to, from, count)
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = dst.CloseWrite() // who has gone altogether is noticed by the other direction
			return nil
		case err != nil:
			return err
		case n >= sip:
			much++
		default:
			much = 0
		}
	}
}

// copyOnce reads once and writes that. It says how much that was, and how much
// it could have been.
func copyOnce(ctx context.Context, dst io.Writer, src io.Reader, limit *Rate, much bool) (n, most int, err error) {
	var buf []byte
	if much {
		b := gulps.Get().(*[gulp]byte)
		defer gulps.Put(b)
		buf = b[:]
	} else {
		b := sips.Get().(*[sip]byte)
		defer sips.Put(b)
		buf = b[:]
	}
	n, err = src.Read(buf)
	if n == 0 {
		return 0, len(buf), err
	}
	if err := limit.Wait(ctx, n); err != nil {
		return 0, len(buf), err
	}
	if _, err := dst.Write(buf[:n]); err != nil {
		return 0, len(buf), err
	}
	return n, len(buf), err
}

// splice lets the kernel copy as long as much comes, and returns how much came
// last.
func splice(dst, src *net.TCPConn, count Count) (int, error) {
	defer func() { _ = src.SetReadDeadline(time.Time{}) }() // nobody else sets it
	for {
		if err := src.SetReadDeadline(time.Now().Add(splicing)); err != nil {
			return 0, err
		}
		n, err := dst.ReadFrom(&io.LimitedReader{R: src, N: spliced})
		if n > 0 {
			count(int(n))
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if n < spliced/64 {
				return int(n), nil
			}
		case err != nil:
			return 0, err
		case n < spliced:
			return 0, io.EOF
		}
	}
}

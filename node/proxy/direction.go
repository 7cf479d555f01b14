package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// idleRead is the buffer of a direction in which little moves, of which a
	// node may have tens of thousands.
	idleRead = 1 << 10
	// burst is how much is moved by the kernel at a time, at most for as long
	// as burstTime, so that counts are never older than that.
	burst     = 1 << 20
	burstTime = time.Second
)

// copyBuffers are for directions in which much moves.
var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// A direction is one half of a stream.
type direction struct {
	stream   *stream
	src, dst net.Conn
	frames   *frames
	count    func(int)
	small    [idleRead]byte
}

// copy moves bytes until the source ends, with io.EOF, or something fails. It
// holds a large buffer only while much moves, and leaves the moving to the
// kernel where that can do it.
func (d *direction) copy() error {
	buf, large := d.small[:], (*[copySize]byte)(nil)
	defer func() {
		if large != nil {
			copyBuffers.Put(large)
		}
	}()
	for {
		if d.stream.isHalf() {
			d.stream.wait(d.src, 0)
		}
		n, err := d.src.Read(buf)
		if werr := d.pass(buf[:n]); werr != nil {
			return werr
		}
		if err != nil {
			return err
		}
		switch {
		case n == len(buf) && large == nil:
			large = copyBuffers.Get().(*[copySize]byte)
			buf = large[:]
		case n == len(buf):
			if err := d.splice(); err != nil {
				return err
			}
		case n < idleRead && large != nil:
			copyBuffers.Put(large)
			buf, large = d.small[:], nil
		}
	}
}

// pass sends on what was read.
func (d *direction) pass(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := d.dst.Write(p)
	if d.frames != nil {
		d.frames.pass(p[:n])
	}
	d.moved(n)
	return err
}

func (d *direction) moved(n int) {
	d.count(n)
	d.stream.x.touch(true)
}

// splice lets the kernel move bytes between two TCP connections for a while; of
// a WebSocket only the rest of a large frame, so that its borders stay known.
func (d *direction) splice() error {
	src, ok := d.src.(*net.TCPConn)
	dst, ok2 := d.dst.(*net.TCPConn)
	n := int64(burst)
	if d.frames != nil {
		n = int64(min(uint64(n), d.frames.rest))
	}
	if !ok || !ok2 || n < copySize {
		return nil
	}
	d.stream.wait(d.src, burstTime)
	moved, err := dst.ReadFrom(&io.LimitedReader{R: src, N: n})
	if d.frames != nil {
		d.frames.skip(moved)
	}
	if moved > 0 {
		d.moved(int(moved))
	}
	d.stream.wait(d.src, 0)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && d.stream.cause() == nil:
		return nil
	case err == nil && moved < n:
		return io.EOF
	}
	return err
}

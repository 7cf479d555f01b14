package carry

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// A look is at what comes next at a socket, without taking it. It is for one
// goroutine.
type look struct {
	raw  syscall.RawConn
	peek func(fd uintptr) bool // made once, as it would be for each datagram
	size int
	err  error
}

// at begins to look at a socket.
func (l *look) at(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	l.raw = raw
	var one [1]byte
	l.peek = func(fd uintptr) bool {
		for {
			// With MSG_TRUNC the size is that of the whole datagram; see recv(2).
			l.size, _, l.err = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_TRUNC|syscall.MSG_DONTWAIT)
			if !errors.Is(l.err, syscall.EINTR) {
				return !errors.Is(l.err, syscall.EAGAIN)
			}
		}
	}
	return nil
}

// next waits for a datagram and says how long it is.
func (l *look) next() (int, error) {
	if err := l.raw.Read(l.peek); err != nil {
		return 0, err
	}
	if l.err != nil {
		return 0, os.NewSyscallError("recvfrom", l.err)
	}
	return l.size, nil
}

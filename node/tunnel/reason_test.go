package tunnel

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
)

func TestAFailureThatIsMetAgainHasTheSameReason(t *testing.T) {
	at := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port} }
	for name, c := range map[string]struct {
		err  func(port int) error
		want string
	}{
		"a connection that was reset": {
			func(port int) error {
				return fmt.Errorf("the server: %w", &net.OpError{Op: "read", Net: "tcp", Source: at(port), Addr: at(443), Err: syscall.ECONNRESET})
			},
			"the server: read tcp 10.0.0.1: connection reset by peer",
		},
		"a client that is gone": {
			func(port int) error {
				return &net.OpError{Op: "write", Net: "tcp", Source: at(443), Addr: at(port), Err: syscall.EPIPE}
			},
			"write tcp 10.0.0.1: broken pipe",
		},
		"no way there": {
			func(port int) error {
				return &net.OpError{Op: "dial", Net: "tcp", Source: at(port), Addr: at(443), Err: syscall.EHOSTUNREACH}
			},
			"dial tcp 10.0.0.1:443: no route to host",
		},
		"one within another": {
			func(port int) error {
				return &net.OpError{Op: "remote error", Err: &net.OpError{Op: "read", Net: "tcp", Source: at(port), Addr: at(443), Err: syscall.ECONNRESET}}
			},
			"remote error: read tcp 10.0.0.1: connection reset by peer",
		},
		"several": {
			func(port int) error {
				return errors.Join(
					&net.OpError{Op: "read", Net: "tcp", Source: at(port), Addr: at(443), Err: syscall.ECONNRESET},
					&net.OpError{Op: "write", Net: "tcp", Source: at(port), Addr: at(443), Err: syscall.EPIPE},
				)
			},
			"read tcp 10.0.0.1: connection reset by peer\nwrite tcp 10.0.0.1: broken pipe",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, port := range []int{50001, 50002} {
				if got := reasonOf(c.err(port)); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

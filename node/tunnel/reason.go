package tunnel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// reasonOf says for people what went wrong.
func reasonOf(err error) string {
	var name *net.DNSError
	if errors.As(err, &name) {
		if name.IsNotFound {
			return fmt.Sprintf("cannot resolve %s: there is no such host", name.Name)
		}
		return fmt.Sprintf("cannot resolve %s: %s", name.Name, name.Err)
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		return err.Error()
	}
	at := op.Net
	if op.Addr != nil {
		at += " " + op.Addr.String()
	}
	switch {
	case op.Op == "listen" && errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("cannot listen at %s: address already in use", at)
	case op.Op == "listen" && errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("cannot listen at %s: that is no address of this machine", at)
	case op.Op == "listen" && errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("cannot listen at %s: the node may not use that port", at)
	case op.Op == "dial" && errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("cannot reach %s: connection refused, nobody listens there", at)
	case op.Op == "dial" && errors.Is(err, os.ErrDeadlineExceeded) || op.Op == "dial" && op.Timeout():
		return fmt.Sprintf("cannot reach %s: no answer", at)
	}
	return err.Error()
}

package tunnel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// reasonOf says for people what went wrong. The same failure is always the same
// text: the port that this side happened to have is left out of it.
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
	return stable(err.Error(), err)
}

// stable cuts the ports that differ each time out of an error's text, wherever
// in it they are: the near one of what was dialled, and the far one of what was
// accepted. One cannot tell which it was, so that only the far host remains.
func stable(text string, err error) string {
	if op, ok := err.(*net.OpError); ok { //nolint:errorlint // each is looked at
		head := net.OpError{Op: op.Op, Net: op.Net, Source: op.Source, Addr: op.Addr, Err: errors.New("")}
		short := net.OpError{Op: op.Op, Net: op.Net, Err: head.Err}
		if op.Op == "dial" || op.Op == "listen" {
			short.Addr = op.Addr // as it was asked for
		} else if ip := ipOf(op.Addr); ip.IsValid() {
			short.Addr = &net.IPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}
		}
		text = strings.ReplaceAll(text, head.Error(), short.Error())
	}
	switch e := err.(type) { //nolint:errorlint // each is looked at
	case interface{ Unwrap() error }:
		return stable(text, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			text = stable(text, one)
		}
	}
	return text
}

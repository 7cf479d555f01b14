//go:build !linux

package carry

import (
	"net"

	"signalbox/node/tunnel/link"
)

// A look is at what comes next at a socket. Elsewhere than on Linux nothing is
// known of it, and reading waits with a buffer for the longest datagram.
type look struct{}

func (*look) at(*net.UDPConn) error { return nil }

func (*look) next() (int, error) { return link.MaxDatagram, nil }

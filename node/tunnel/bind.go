package tunnel

import (
	"context"
	"errors"
	"net"
)

// socketBuffer is how much the kernel is asked to hold of datagrams that have
// come at once, in bytes.
const socketBuffer = 4 << 20

// sockets are what users come in at. Each is nil where it is not wanted.
type sockets struct {
	tcp *net.TCPListener
	udp *net.UDPConn
}

// bind listens at an address for TCP and UDP, as the URL wants them.
func (r *run) bind(ctx context.Context, address string) (*sockets, error) {
	s := &sockets{}
	var conf net.ListenConfig
	if !r.url.NoTCP {
		l, err := conf.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		s.tcp = l.(*net.TCPListener)
		address = l.Addr().String() // a name may have several: UDP takes the same
	}
	if !r.url.NoUDP {
		c, err := conf.ListenPacket(ctx, "udp", address)
		if err != nil {
			s.close()
			return nil, err
		}
		s.udp = c.(*net.UDPConn)
		_ = s.udp.SetReadBuffer(socketBuffer) // as much of it as the machine allows
		_ = s.udp.SetWriteBuffer(socketBuffer)
	}
	return s, nil
}

// close closes what there is.
func (s *sockets) close() {
	if s == nil {
		return
	}
	if s.tcp != nil {
		_ = s.tcp.Close()
	}
	if s.udp != nil {
		_ = s.udp.Close()
	}
}

// local says whether every address that a "host:port" stands for is this
// machine's.
func local(ctx context.Context, address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return host == "", err
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return false, err
	}
	mine, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range found {
		if !a.IP.IsUnspecified() && !a.IP.IsLoopback() && !among(a.IP, mine) {
			return false, nil
		}
	}
	return len(found) > 0, nil
}

// among says whether an address is one of an interface.
func among(ip net.IP, mine []net.Addr) bool {
	for _, m := range mine {
		if n, ok := m.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}

// unresolved says whether err is that a name could not be looked up, which says
// nothing about whose address it is.
func unresolved(err error) bool {
	var name *net.DNSError
	return errors.As(err, &name)
}

package tunnel

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A udpSocket is one that users come in at. Where it listens at all addresses of
// the machine it remembers which one a user spoke to: an answer that came from
// another would be nobody's to that user.
type udpSocket struct {
	*net.UDPConn
	six, every bool
	oob        []byte // the reading goroutine's
}

// newUDPSocket returns c, asked to say where datagrams were sent to if that is
// not clear. Where the machine cannot say it, it chooses.
func newUDPSocket(c *net.UDPConn) *udpSocket {
	s := &udpSocket{UDPConn: c}
	at, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return s
	}
	s.six = at.IP.To4() == nil
	if s.six {
		s.every = ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true) == nil
		s.oob = ipv6.NewControlMessage(ipv6.FlagDst | ipv6.FlagInterface)
	} else {
		s.every = ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true) == nil
		s.oob = ipv4.NewControlMessage(ipv4.FlagDst | ipv4.FlagInterface)
	}
	return s
}

// read reads a datagram. told is what was said of it, until the next read.
func (s *udpSocket) read(p []byte) (n int, told []byte, from netip.AddrPort, err error) {
	if !s.every {
		n, from, err = s.ReadFromUDPAddrPort(p)
		return n, nil, from, err
	}
	n, oobn, _, from, err := s.ReadMsgUDPAddrPort(p, s.oob)
	return n, s.oob[:oobn], from, err
}

// answering is what is to be said with answers to a datagram, nil for nothing:
// they come from the address that it was sent to, and may leave over whatever
// interface leads to the user, unless the address belongs to one.
func (s *udpSocket) answering(told []byte) []byte {
	if !s.every || len(told) == 0 {
		return nil
	}
	if !s.six {
		var m ipv4.ControlMessage
		if m.Parse(told) != nil || m.Dst == nil || m.Dst.IsMulticast() {
			return nil
		}
		return (&ipv4.ControlMessage{Src: m.Dst}).Marshal()
	}
	var m ipv6.ControlMessage
	if m.Parse(told) != nil || m.Dst == nil || m.Dst.IsMulticast() {
		return nil
	}
	if m.Dst.To4() != nil { // a user of IPv4 at a socket for both
		return (&ipv4.ControlMessage{Src: m.Dst}).Marshal()
	}
	answer := ipv6.ControlMessage{Src: m.Dst}
	if m.Dst.IsLinkLocalUnicast() {
		answer.IfIndex = m.IfIndex
	}
	return answer.Marshal()
}

// write sends a datagram, with what answering said.
func (s *udpSocket) write(p, answering []byte, to netip.AddrPort) (int, error) {
	if answering == nil {
		return s.WriteToUDPAddrPort(p, to)
	}
	n, _, err := s.WriteMsgUDPAddrPort(p, answering, to)
	return n, err
}

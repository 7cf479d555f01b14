package carry

import (
	"fmt"
	"net/netip"
)

// ProxyHeader is the PROXY protocol's line of version 1 that says who the user
// is, both "host:port" with an IP address. Where one of them is not known it
// says so.
func ProxyHeader(user, server string) string {
	src, err1 := netip.ParseAddrPort(user)
	dst, err2 := netip.ParseAddrPort(server)
	if err1 != nil || err2 != nil {
		return "PROXY UNKNOWN\r\n"
	}
	from, to, family := src.Addr().Unmap().WithZone(""), dst.Addr().Unmap().WithZone(""), "TCP4"
	if !from.Is4() || !to.Is4() {
		from, to, family = netip.AddrFrom16(from.As16()), netip.AddrFrom16(to.As16()), "TCP6"
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, from, to, src.Port(), dst.Port())
}

package tunnel

import (
	"fmt"
	"log/slog"
	"net"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// warnOfPort notes whether everybody who reaches a server's port can be its
// client, since its key follows from that, and warns of it.
func (r *run) warnOfPort(at net.Addr) {
	r.open = r.url.Key == "" && !ipOf(at).IsLoopback()
	if r.open {
		r.log.repeat(slog.LevelWarn, "open", fmt.Sprintf("The URL has no key, so anybody who knows the port %s can be this server's client: "+
			"give the URL a key, as server://KEY@HOST:PORT", r.url.Port()))
	}
}

// warnOfClient warns of what a client that is about to join puts at risk.
func (r *run) warnOfClient(s link.Session) {
	ip := ipOf(s.Peer())
	if r.open && r.elsewhere(s) {
		r.log.user(slog.LevelWarn, fmt.Sprintf("Another client, at %s, joins this server, whose URL has no key: "+
			"if you do not know it, give the URL a key", ip))
	}
	if s.Wire() != tunnelurl.Signalbox && s.Receives() == tunnelurl.Server {
		r.log.repeat(slog.LevelWarn, "wire", fmt.Sprintf("The client at %s speaks wire %s: whoever else is at that address, "+
			"as behind one NAT or proxy, can take users' connections; where both ends are Signalbox, say wire=signalbox", ip, s.Wire()))
	}
}

// elsewhere says whether there is a client at another address than s has.
func (r *run) elsewhere(s link.Session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		if ipOf(p.Peer()) != ipOf(s.Peer()) {
			return true
		}
	}
	return false
}

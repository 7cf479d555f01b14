package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"signalbox/node/tunnel/carry"
	"signalbox/node/tunnel/link"
)

// single forwards users at the tunnel's address to the targets, without a
// server. Targets are dialled when a user comes: connections in stock, as
// NodePass keeps 64 of, look to a target like 64 users who say nothing, are
// closed by it at any time, and save a round trip that is short where people
// forward.
func (r *run) single(ctx context.Context, at *sockets) error {
	e := &entry{
		run: r, asTarget: true,
		tcp: func(ctx context.Context, user *net.TCPConn) (link.Stream, error) {
			return r.target(ctx, user.RemoteAddr().String(), user.LocalAddr().String())
		},
		udp: func(ctx context.Context, _ netip.AddrPort) (carry.Side, error) { return r.targets.UDP(ctx) },
	}
	r.mode = singleEnd
	r.found(singleEnd)
	r.running()
	r.log.say(slog.LevelInfo, fmt.Sprintf("Single-end forwarding: %s", r.about()))
	return e.serve(ctx, at)
}

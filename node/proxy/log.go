package proxy

import (
	"context"
	"log/slog"
	"time"
)

// log writes the exchange to the access log if it failed or its turn has come.
func (x *exchange) log() {
	h := x.front.handler
	level := slog.LevelInfo
	if x.failed != nil {
		if s := x.failed.side; s != SideClient && s != SidePolicy {
			level = slog.LevelWarn
		}
	} else if n := h.served.Add(1); h.cfg.Sample <= 0 || n%uint64(h.cfg.Sample) != 0 {
		return
	}
	if !h.cfg.Log.Enabled(context.Background(), level) {
		return
	}
	method, host, path := x.r.Method, x.r.Host, x.path.Raw // never the query, which may hold secrets
	if x.bad != nil {                                      // and so x.r may be a stand-in
		method, host, path = x.bad.Method, "", x.bad.Path
	}
	var attrs [18]slog.Attr
	all := append(attrs[:0],
		slog.String("listener", x.front.name),
		slog.String("client", x.client()),
		slog.String("method", method),
		slog.String("host", host),
		slog.String("path", path),
		slog.Int("status", x.status),
		slog.Int64("bytes_in", x.received.Load()),
		slog.Int64("bytes_out", x.sent.Load()),
		slog.Float64("duration_ms", float64(time.Since(x.begun).Microseconds())/1000),
	)
	if x.route != nil {
		all = append(all, slog.String("route", x.route.Name), slog.Int64("rev", x.route.Revision),
			slog.String("upstream", x.addr), slog.Int("attempts", x.attempts))
	}
	if f := x.failed; f != nil {
		all = append(all, slog.String("reason", string(f.reason)), slog.String("side", string(f.side)))
		if f.err != nil {
			all = append(all, slog.Any("err", f.err))
		}
	}
	h.cfg.Log.LogAttrs(context.Background(), level, "exchange", all...)
}

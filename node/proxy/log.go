package proxy

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// maxFailures is how many failures are logged in a second, so that whoever can
// make exchanges fail cannot fill disks.
const maxFailures = 100

// A Quota lets some through in each second, and counts the others. The zero
// value is whole; it is safe for concurrent use.
type Quota struct {
	mu     sync.Mutex
	second int64 // since 1970
	passed int   // in that second
	left   int   // left out since one was let through
}

// Take asks for one to be let through, and returns how many were left out
// before it.
func (q *Quota) Take(now time.Time) (left int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := now.Unix(); s != q.second {
		q.second, q.passed = s, 0
	}
	if q.passed == maxFailures {
		q.left++
		return 0, false
	}
	q.passed++
	left, q.left = q.left, 0
	return left, true
}

// logs tells whether the exchange is logged, how, and how many failures like
// it were not. A client's failure is no warning, and takes no place from one
// that is.
func (x *exchange) logs() (level slog.Level, left int, ok bool) {
	h := x.front.handler
	switch f := x.failed; {
	case h.cfg.Sample < 0:
		return 0, 0, false
	case f == nil:
		n := h.served.Add(1)
		return slog.LevelInfo, 0, h.cfg.Sample > 0 && n%uint64(h.cfg.Sample) == 0
	case f.side == SideClient, f.side == SidePolicy:
		left, ok = h.quotas[0].Take(time.Now())
		return slog.LevelInfo, left, ok
	}
	left, ok = h.quotas[1].Take(time.Now())
	return slog.LevelWarn, left, ok
}

// log writes the exchange to the access log if its turn has come.
func (x *exchange) log() {
	h := x.front.handler
	level, left, ok := x.logs()
	if !ok {
		return
	}
	if !h.cfg.Log.Enabled(context.Background(), level) {
		return
	}
	method, host, path := x.r.Method, x.r.Host, x.path.Raw // never the query, which may hold secrets
	if x.bad != nil {                                      // and so x.r may be a stand-in
		method, host, path = x.bad.Method, "", x.bad.Path
	}
	var attrs [19]slog.Attr
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
	if left > 0 {
		all = append(all, slog.Int("left_out", left))
	}
	h.cfg.Log.LogAttrs(context.Background(), level, "exchange", all...)
}

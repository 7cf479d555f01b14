package main

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"signalbox/gateway/chp"
	"signalbox/node/proxy"
	"signalbox/node/upstream"
)

// A chpTeller logs and counts what CHP logs and counts.
type chpTeller struct {
	log    *chpLog
	counts *chpMetrics
	quota  chpQuota
}

// exchange is told of what is over on the public port.
func (t *chpTeller) exchange(x proxy.Exchange) {
	if x.Builtin {
		return
	}
	t.counts.exchange(x)
	what := strconv.Itoa(x.Status) + " " + x.Method + " " + x.Path
	switch {
	case x.Reason == "" && t.log.least <= slog.LevelDebug:
		kind := "WEB"
		if x.Upgrade {
			kind = "WS"
		}
		t.log.log(slog.LevelDebug, "PROXY "+kind+" "+x.Path+" to "+bare(x.Upstream))
		if !x.Active {
			t.log.log(slog.LevelDebug, "Not recording activity for status "+strconv.Itoa(x.Status)+" on "+x.Path)
		}
	case x.Reason == "":
	case x.Reason == proxy.ReasonClientGone, x.Status == http.StatusBadRequest && x.Route == "":
		t.log.log(slog.LevelDebug, what+" "+string(x.Reason)) // the client's own doing
	case t.quota.take(time.Now()):
		t.log.log(slog.LevelError, what+t.why(x))
	}
}

// why says what was wrong with the upstream.
func (t *chpTeller) why(x proxy.Exchange) string {
	switch {
	case x.Reason == proxy.ReasonNoRoute:
		return ""
	case x.Reason == proxy.Reason(upstream.ReasonDialRefused):
		_, host, _ := strings.Cut(bare(x.Upstream), "://")
		host, _, _ = strings.Cut(host, "/")
		return " connect ECONNREFUSED " + host
	case x.Err != nil:
		return " " + string(x.Reason) + ": " + strings.ReplaceAll(x.Err.Error(), "\n", " ")
	}
	return " " + string(x.Reason)
}

// call is told of what was answered on the API port.
func (t *chpTeller) call(c chp.Call) {
	t.counts.call(c)
	switch {
	case c.Method == http.MethodPost && c.Status == http.StatusCreated:
		t.log.info("Adding route %s -> %s", printable(c.Key), printable(bare(c.Target)))
		t.log.info("Route added %s -> %s", printable(c.Key), printable(bare(c.Target)))
	case c.Method == http.MethodDelete && c.Status == http.StatusNoContent:
		t.log.info("Removing route %s", printable(c.Key))
	}
	level := slog.LevelInfo
	switch {
	case c.Status >= 500:
		level = slog.LevelError
	case c.Status >= 400:
		level = slog.LevelWarn
	}
	t.log.log(level, strconv.Itoa(c.Status)+" "+c.Method+" "+printable(c.Path))
}

// printable has no control characters, with which a key could write lines of
// its own.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// chpFailures is how many failures are logged in a second, so that whoever can
// make requests fail cannot fill disks.
const chpFailures = 100

// A chpQuota lets some through in each second.
type chpQuota struct {
	mu     sync.Mutex
	second int64
	passed int
}

func (q *chpQuota) take(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := now.Unix(); s != q.second {
		q.second, q.passed = s, 0
	}
	q.passed++
	return q.passed <= chpFailures
}

package main

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"signalbox/gateway/chp"
	"signalbox/node/proxy"
	"signalbox/node/upstream"
)

// A chpTeller logs and counts what CHP logs and counts.
type chpTeller struct {
	log    *chpLog
	counts *chpMetrics
	quota  proxy.Quota // of failures that are logged
}

// exchange is told of what is over on the public port.
func (t *chpTeller) exchange(x proxy.Exchange) {
	if x.Builtin {
		return
	}
	t.counts.exchange(x)
	path := printable(x.Path)
	what := strconv.Itoa(x.Status) + " " + x.Method + " " + path
	switch {
	case x.Reason == "" && t.log.least <= slog.LevelDebug:
		kind := "WEB"
		if x.Upgrade {
			kind = "WS"
		}
		t.log.log(slog.LevelDebug, "PROXY "+kind+" "+path+" to "+bare(x.Upstream))
		if !x.Active {
			t.log.log(slog.LevelDebug, "Not recording activity for status "+strconv.Itoa(x.Status)+" on "+path)
		}
	case x.Reason == "":
	case x.Reason == proxy.ReasonClientGone, x.Status == http.StatusBadRequest && x.Route == "":
		t.log.log(slog.LevelDebug, what+" "+string(x.Reason)) // the client's own doing
	default:
		t.failure(what + printable(t.why(x)))
	}
}

// failure logs one, if there are not too many of them.
func (t *chpTeller) failure(what string) {
	left, ok := t.quota.Take(time.Now())
	switch {
	case ok && left > 0:
		t.log.log(slog.LevelError, what+" (and "+strconv.Itoa(left)+" failures before it, which are not logged)")
	case ok:
		t.log.log(slog.LevelError, what)
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
		return " " + string(x.Reason) + ": " + x.Err.Error()
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

// printable has no control characters, with which who asks could write lines of
// their own, or to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

package proxy

import (
	"net/http"
	"strconv"
	"strings"
)

// healthy is the answer at a listener's health path, the one that
// configurable-http-proxy gives at its own.
const healthy = `{"status":"OK"}`

// builtin answers what a listener answers before any route, and tells whether
// it did.
func (x *exchange) builtin() bool {
	switch {
	case x.rules.health != "" && x.r.RequestURI == x.rules.health:
		x.say(http.StatusOK, "Content-Type", "application/json", healthy)
	case x.rules.redirect:
		x.toHTTPS()
	default:
		return false
	}
	return true
}

// toHTTPS leads the client to the same URL in https.
func (x *exchange) toHTTPS() {
	host := x.r.Host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	if host == "" {
		x.say(http.StatusBadRequest, "Content-Type", "text/plain; charset=utf-8",
			"This address leads to https only, and the request names no host to lead to.\n")
		return
	}
	if x.rules.redirectPort != "" {
		host += ":" + x.rules.redirectPort
	}
	target := x.r.RequestURI
	if !strings.HasPrefix(target, "/") {
		target = pathOf(target)
	}
	x.say(http.StatusMovedPermanently, "Location", "https://"+host+target, "")
}

// say sends an answer of the node's own that is no failure.
func (x *exchange) say(status int, header, value, body string) {
	h := x.w.Header()
	h[header] = []string{value}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if x.mustClose() || x.r.ContentLength != 0 && x.r.ProtoMajor == 1 { // nobody reads the body
		h["Connection"] = []string{"close"}
	}
	x.sayKeepAlive(h)
	x.started = true
	x.answered(status)
	x.w.WriteHeader(status)
	n, _ := x.w.Write([]byte(body)) // a client that is gone cannot be told
	x.sent.Add(int64(n))
}

package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// retryAfter is the advice of a 503, in seconds.
const retryAfter = "1"

// refuse answers with a failure.
func (x *exchange) refuse(f *failure) {
	h := x.w.Header()
	clear(h) // of an upstream's header that is not to be sent after all
	h["Cache-Control"] = []string{"no-store"}
	if x.rules.details {
		h["Signalbox-Error"] = []string{string(f.reason)}
	}
	if x.mustClose() {
		h["Connection"] = []string{"close"}
	}
	x.sayKeepAlive(h)
	if x.isGRPC() {
		x.refuseGRPC(h, f)
		return
	}
	switch f.status {
	case http.StatusServiceUnavailable:
		h["Retry-After"] = []string{retryAfter}
	case http.StatusMethodNotAllowed:
		h["Allow"] = []string{methods}
	}
	body := x.bodyOf(h, f)
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	x.started = true
	x.answered(f.status)
	x.w.WriteHeader(f.status)
	n, _ := x.w.Write(body) // a client that is gone cannot be told
	if x.r.Method == http.MethodHead {
		n = 0
	}
	x.sent.Add(int64(n))
	x.meter.sent.Add(uint64(n))
	if x.served != nil {
		x.served.life.counts.Sent(n)
	}
}

// bodyOf returns the body of a refusal, which is the listener's page for it or
// in the form the client prefers, and sets its type.
func (x *exchange) bodyOf(h http.Header, f *failure) []byte {
	if p := x.page(f); p != nil {
		if p.contentType != "" {
			h["Content-Type"] = []string{p.contentType}
		} else {
			h["Content-Type"] = nil
		}
		if p.coding != "" {
			h["Content-Encoding"] = []string{p.coding}
		}
		return p.body
	}
	text := f.text
	if text == "" {
		text = sentence(f.status)
	}
	if !strings.Contains(strings.Join(x.r.Header["Accept"], ","), "application/json") {
		h["Content-Type"] = []string{"text/plain; charset=utf-8"}
		return fmt.Appendf(nil, "%d %s: %s (%s)\n", f.status, http.StatusText(f.status), text, f.reason)
	}
	h["Content-Type"] = []string{"application/json"}
	page, _ := json.Marshal(struct { // of a struct of numbers and strings it cannot fail
		Status  int    `json:"status"`
		Reason  Reason `json:"reason"`
		Message string `json:"message"`
	}{f.status, f.reason, text})
	return append(page, '\n')
}

// sentence says what a status means when there is no more to say.
func sentence(status int) string {
	switch status {
	case http.StatusBadGateway:
		return "the server behind this address did not answer as it should"
	case http.StatusServiceUnavailable:
		return "no server is available for this address just now"
	case http.StatusGatewayTimeout:
		return "the server behind this address took too long"
	}
	return "the request was refused"
}

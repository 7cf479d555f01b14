package proxy

import (
	"errors"
	"net/http"
	"strings"

	"signalbox/node/listen"
)

// errBadStatus is a status that no final response has.
var errBadStatus = errors.New("the upstream's status is none that a final response can have")

// answer sends the upstream's response to the client.
func (x *exchange) answer(res *http.Response) {
	defer func() { _ = res.Body.Close() }() // its exchange is over, whatever it says
	if res.StatusCode < 200 || res.StatusCode > 999 {
		x.fail(&failure{status: http.StatusBadGateway, reason: "bad_response", side: SideUpstream, err: errBadStatus})
		return
	}
	announced := x.copyHeader(res)
	x.status = res.StatusCode
	_, x.phrase, _ = strings.Cut(res.Status, " ")
	if res.Body != http.NoBody {
		if bad := carry(x, res); bad != nil {
			x.fail(bad)
			return
		}
	}
	x.start()
	x.copyTrailer(res, announced)
}

// copyHeader puts the upstream's header where net/http will take it from, and
// returns how many trailers it announces.
func (x *exchange) copyHeader(res *http.Response) (announced int) {
	cleanResponse(res.Header)
	x.rewriteLocation(res)
	change(res.Header, x.policy.ResponseHeader)
	h := x.w.Header()
	for name, values := range res.Header {
		h[name] = values
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // else net/http would guess
	}
	if !x.r.ProtoAtLeast(1, 1) { // HTTP/1.0 knows no trailers
		res.Trailer = nil
	}
	if announced = len(res.Trailer); announced > 0 {
		names := make([]string, 0, announced)
		for name := range res.Trailer {
			names = append(names, name)
		}
		h["Trailer"] = []string{strings.Join(names, ", ")}
		if x.r.ProtoMajor == 1 {
			delete(h, "Content-Length") // HTTP/1 has trailers after chunks only
		}
	}
	if x.mustClose() {
		h["Connection"] = []string{"close"}
	}
	x.sayKeepAlive(h)
	return announced
}

// sayKeepAlive says that the connection stays open where the listener wants it
// said. Where net/http knows better it takes it back.
func (x *exchange) sayKeepAlive(h http.Header) {
	if x.rules.keepAlive && x.r.ProtoMajor == 1 && x.r.ProtoMinor >= 1 && h["Connection"] == nil {
		h["Connection"] = []string{"keep-alive"}
	}
}

// mustClose tells whether the client's connection can carry no more requests:
// the node is draining, nobody will read the rest of the request's body, there
// is a deadline on the connection, or the client wanted a WebSocket and may go
// on as if it had one.
func (x *exchange) mustClose() bool {
	return x.r.ProtoMajor == 1 &&
		(x.front.handler.draining.Load() || x.handshake || x.body != nil && !x.body.atEnd.Load() || x.stopped())
}

// start writes the response's header, once.
func (x *exchange) start() {
	if x.started {
		return
	}
	x.started, x.dirty = true, true
	x.answered(x.status)
	x.touch(x.isActivity())
	if x.body != nil {
		x.body.use.decide(x.status < http.StatusBadRequest)
	}
	listen.Phrase(x.r, x.status, x.phrase)
	x.w.WriteHeader(x.status)
}

// flush sends what has been written so far, the header at least.
func (x *exchange) flush() {
	x.start()
	if !x.dirty {
		return
	}
	x.dirty = false
	if f, ok := x.w.(http.Flusher); ok {
		f.Flush()
	}
}

// copyTrailer sends the upstream's trailers, which are complete once its body
// has been read. Those that were not announced get net/http's prefix.
func (x *exchange) copyTrailer(res *http.Response, announced int) {
	if len(res.Trailer) == 0 || !x.r.ProtoAtLeast(1, 1) {
		return
	}
	cleanResponse(res.Trailer)
	delete(res.Trailer, "Content-Length") // too late for that (RFC 9110, section 6.5.1)
	h := x.w.Header()
	if announced == 0 && x.r.ProtoMajor == 1 {
		x.flush() // before net/http gives a short answer a length, and so no trailers
	}
	for name, values := range res.Trailer {
		if announced != len(res.Trailer) {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// fail ends the exchange with an answer of the node's own where the client can
// still be told, and abruptly where not.
func (x *exchange) fail(f *failure) {
	if x.rules.failure != 0 && (f.status == http.StatusBadGateway || f.status == http.StatusGatewayTimeout) {
		f.status = x.rules.failure
	}
	x.failed = f
	if x.body != nil {
		if f.broken() {
			x.body.use.count()
		}
		x.body.use.decide(false)
	}
	x.front.handler.failures.count(f)
	ours := f.side == SideUpstream || f.side == SideNetwork || f.side == SideNode
	if x.served != nil && ours {
		x.served.life.counts.Fail()
	}
	if !x.started && f.status != statusClientGone {
		x.refuse(f)
		return
	}
	if x.status == 0 {
		x.status = f.status
	}
	if x.started && x.breakOffGRPC(f) {
		return
	}
	x.aborted = true
	panic(http.ErrAbortHandler) // which closes HTTP/1's connection, and resets HTTP/2's stream
}

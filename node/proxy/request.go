package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"

	"signalbox/node/listen"
	"signalbox/node/upstream"
	"signalbox/proto/rules"
)

// maxEarly is how many informational responses are forwarded in one exchange.
const maxEarly = 16

// errTooEarly ends an exchange of an upstream that sends more.
var errTooEarly = errors.New("too many informational responses")

// rewriteRequest turns the client's header into what is sent on, in place.
func (x *exchange) rewriteRequest() {
	x.from = originOf(x.r.RemoteAddr, x.rules)
	h := x.r.Header
	asked := x.upgrade()
	trailers := x.clean(h)
	if !x.policy.PassForwarding {
		x.setForwarded(h)
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if x.asked = asked; asked != "" {
		h["Connection"] = []string{"Upgrade"}
		h["Upgrade"] = []string{asked}
	}
	if c := h["Cookie"]; len(c) > 1 { // many servers look at the first alone (RFC 6265, section 5.4)
		h["Cookie"] = []string{strings.Join(c, "; ")}
	}
	change(h, x.policy.RequestHeader)
	if len(h["User-Agent"]) == 0 {
		h["User-Agent"] = nil // else net/http would make one up
	}
	if x.r.ContentLength != 0 && x.r.Body != nil && x.r.Body != http.NoBody {
		x.body = newClientBody(x)
	}
}

// upgrade returns the protocol that the client wants to switch to and may, or
// nothing. An upgrade that is not allowed is an ordinary request, as it is for
// a server that knows nothing of it (RFC 9110, section 7.8), and so is one with
// a body.
func (x *exchange) upgrade() string {
	h := x.r.Header
	if len(h["Upgrade"]) == 0 || x.r.ContentLength != 0 || !x.r.ProtoAtLeast(1, 1) || x.r.ProtoMajor > 1 ||
		!hasToken(h["Connection"], "upgrade") {
		return ""
	}
	for _, v := range h["Upgrade"] {
		for p := range strings.SplitSeq(v, ",") {
			p = textproto.TrimString(p)
			name, _, _ := strings.Cut(p, "/")
			if name = strings.ToLower(name); x.policy.Allows(name) && (name != webSocket || x.r.Method == http.MethodGet) {
				return p
			}
		}
	}
	return ""
}

// webSocket is the protocol of which more is known than that bytes are copied:
// its handshake is a GET (RFC 6455, section 4.1), and its frames.
const webSocket = "websocket"

// wantsWebSocket tells whether a request is the handshake of a WebSocket,
// whatever becomes of it.
func wantsWebSocket(r *http.Request) bool {
	h := r.Header
	return len(h["Upgrade"]) > 0 && r.Method == http.MethodGet && r.ProtoMajor == 1 &&
		hasToken(h["Connection"], "upgrade") && hasToken(h["Upgrade"], webSocket)
}

// send finds an upstream that answers. It sends the request to each at most
// once, apart from a repetition where an unused connection turned out to be
// dead.
func (x *exchange) send() (*http.Response, *failure) {
	var last *failure
	for tried := (upstream.Tried{}); ; {
		i := x.served.balance.Next(len(x.route.Upstreams), tried)
		switch {
		case i < 0 && last == nil:
			return nil, &failure{status: http.StatusServiceUnavailable, reason: ReasonNoUpstream, side: SideUpstream}
		case i < 0:
			return nil, last
		}
		tried.Add(i)
		res, info, err := x.sendTo(i)
		if err == nil {
			return res, nil
		}
		last = x.explain(err)
		if info.BodyTouched || !unreached(err) {
			return nil, last
		}
	}
}

// sendTo sends the request to one upstream.
func (x *exchange) sendTo(i int) (*http.Response, upstream.Info, error) {
	pool, err := x.served.pool(i)
	if err != nil {
		return nil, upstream.Info{}, &upstream.Error{Reason: upstream.ReasonPoolClosed, Err: err}
	}
	x.to = &x.route.Upstreams[i]
	out := x.outgoing(x.to)
	opt := upstream.Options{Timeouts: upstream.Timeouts{Connect: x.policy.Connect, Header: x.policy.Response}}
	if opt.Timeouts.Header == 0 {
		opt.Timeouts.Header = -1 // none, for long polls
	}
	for {
		x.attempts++
		res, info, err := pool.RoundTrip(out, opt)
		x.addr = info.Addr
		if err == nil || opt.Fresh || !upstream.Retriable(err, info, out) {
			return res, info, err
		}
		opt.Fresh = true
	}
}

// unreached tells whether the upstream cannot have seen the request, so that
// another one may.
func unreached(err error) bool {
	var e *upstream.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Reason {
	case upstream.ReasonDNS, upstream.ReasonDialRefused, upstream.ReasonDialTimeout,
		upstream.ReasonDialUnreachable, upstream.ReasonDialFailed,
		upstream.ReasonTLSHandshake, upstream.ReasonTLSTimeout, upstream.ReasonStreamRefused:
		return true
	}
	return false
}

// outgoing returns the request as an upstream gets it.
func (x *exchange) outgoing(u *rules.Upstream) *http.Request {
	ctx := x.ctx
	if x.r.ProtoAtLeast(1, 1) { // HTTP/1.0 knows no informational responses
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: x.informational})
	}
	out := x.r.WithContext(ctx)
	out.URL = x.url(u)
	out.RequestURI, out.Close, out.TransferEncoding, out.Trailer = "", false, nil, nil
	if x.policy.UpstreamHost || out.Host == "" {
		out.Host = u.Host
	}
	if c := x.policy.RequestHeader; c != nil && c.Host != "" {
		out.Host = c.Host
	}
	out.Body = nil
	if x.body != nil {
		out.Body, out.Trailer = x.body, x.body.trailer
	}
	return out
}

// informational forwards a 1xx response. It is called by the goroutine that
// reads from the upstream. The 100 is not its business: the client is told to
// go on when its body is first read.
func (x *exchange) informational(code int, header textproto.MIMEHeader) error {
	x.early.Lock()
	defer x.early.Unlock()
	if x.final || code == http.StatusContinue {
		return nil
	}
	if x.earlies++; x.earlies > maxEarly {
		return errTooEarly
	}
	h := x.w.Header()
	cleanResponse(http.Header(header))
	for name, values := range header {
		h[name] = values
	}
	x.w.WriteHeader(code)
	clear(h)
	return nil
}

// explain turns an error of an exchange into what it is answered with.
func (x *exchange) explain(err error) *failure {
	if f, ok := ended(context.Cause(x.ctx)); ok {
		return &f
	}
	f := sendFailure(err)
	if f.reason == Reason(upstream.ReasonClientBody) {
		if bad := listen.BodyViolation(x.r.Context()); bad != nil {
			f.reason, f.text = Reason(bad.Reason), bad.Text
		} else if x.r.Context().Err() != nil {
			f.status, f.reason = statusClientGone, ReasonClientGone
		}
	}
	return &f
}

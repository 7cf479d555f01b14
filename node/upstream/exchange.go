package upstream

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are one request's choices. The zero value takes the registry's.
type Options struct {
	// Timeouts replace the registry's where they are not zero. Requests that
	// wait for one connection attempt are bounded by those of the first.
	Timeouts Timeouts
	// Fresh keeps the request from connections that are there already, which
	// a second attempt after a stale one wants.
	Fresh bool
}

// Info says how a request was sent. It is complete beside an error too.
type Info struct {
	// Addr is the peer's resolved address, or the target's when there was no
	// connection.
	Addr string
	// Protocol is what was spoken: H1, H2 or H2C; the target's choice when
	// there was no connection.
	Protocol Protocol
	// Reused says that the connection had carried an exchange before.
	Reused bool
	// Dial is how long the request waited for a new connection, TLS included;
	// zero when one was there.
	Dial time.Duration
	// TLS is the part of Dial that was the TLS handshake, zero when another
	// request's attempt was waited for.
	TLS time.Duration
	// Answered says that the upstream sent some bytes after the request was
	// begun; under HTTP/2, that there was a response.
	Answered bool
	// BodyTouched says that some of the request body was read, so that it
	// cannot be sent a second time.
	BodyTouched bool
	// BodySent says that the request body, if any, was read to its end. A
	// failure without it may be a slow client's doing.
	BodySent bool
}

// An exchange is one request on one connection, from when it has one until the
// response body or the upgraded stream ends. It is the response's body, too.
type exchange struct {
	pool *Pool
	conn *conn
	req  *http.Request
	// limit is Timeouts.Header.
	limit time.Duration
	// sending is the request body; nil without one.
	sending *sending
	// body is net/http's response body.
	body io.ReadCloser
	// received is the wire's count when the exchange began.
	received int64
	// cancel ends an exchange on an HTTP/2 connection; nil otherwise, and
	// when nothing could call it.
	cancel context.CancelCauseFunc
	over   atomic.Bool
	// failed is what reading the body ended with; only Read uses it.
	failed error

	mu       sync.Mutex  // guards what follows
	answered bool        // RoundTrip has got what it waits for
	late     bool        // the header's time ran out before that
	due      time.Time   // when it will; zero until it runs
	timer    *time.Timer // runs it under HTTP/2; HTTP/1.1 has conn.timer
}

// RoundTrip sends req once, on an unused connection or a new one, and returns
// the final response. The error is an *Error, as are those of reading the
// response body, io.EOF excepted. When the request's context ends, so does the
// exchange, at whatever point. The answer to an upgrade (101) has an *Upgraded
// as its body.
//
// The header and the trailer map of req must not change until the response
// body is closed or RoundTrip has failed, except that trailers get their
// values while the body is read.
func (p *Pool) RoundTrip(req *http.Request, opt Options) (*http.Response, Info, error) {
	p.inFlight.Add(1)
	info := Info{Addr: p.target.Address, Protocol: p.target.Protocol}
	c, err := p.take(req, opt, &info)
	if err != nil {
		p.inFlight.Add(-1)
		info.BodySent = !hasBody(req)
		return nil, info, p.fail(err)
	}
	if info.Reused {
		p.registry.counts.reused.Add(1)
	}
	info.Addr, info.Protocol = c.addr, c.proto
	x := &exchange{
		pool: p, conn: c, req: req,
		limit:    cmp.Or(opt.Timeouts.Header, p.registry.cfg.Timeouts.Header),
		received: c.wire.received.Load(),
	}
	out := x.outgoing(cmp.Or(opt.Timeouts.Continue, p.registry.cfg.Timeouts.Continue))
	resp, err := x.run(out)
	x.tell(&info, err)
	if err != nil {
		return nil, info, p.fail(err)
	}
	return resp, info, nil
}

// hasBody tells whether req has a body to send.
func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// outgoing returns the request as net/http gets it: req itself where nothing
// has to be watched. It gives up waiting for the upstream's 100 after wait.
func (x *exchange) outgoing(wait time.Duration) *http.Request {
	ctx, body := x.req.Context(), hasBody(x.req)
	if body {
		x.sending = newSending(x.req.Body, x.req.ContentLength, x.awaitHeader)
		if expectsContinue(x.req.Header) {
			x.sending.holdBack(wait)
			ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: x.sending.allow})
		}
	}
	if x.conn.multiplexed() && x.limit > 0 {
		ctx, x.cancel = context.WithCancelCause(ctx)
	}
	if !body && x.cancel == nil {
		return x.req
	}
	out := x.req.WithContext(ctx)
	if body {
		out.Body, out.GetBody = x.sending, nil
	}
	return out
}

// expectsContinue tells whether the client waits for a 100 before it sends.
func expectsContinue(h http.Header) bool {
	for _, v := range h["Expect"] {
		if strings.EqualFold(strings.TrimSpace(v), "100-continue") {
			return true
		}
	}
	return false
}

// run sends out and waits for the final response's header.
func (x *exchange) run(out *http.Request) (*http.Response, error) {
	c := x.conn
	if !c.multiplexed() {
		c.current.Store(x)
	}
	if x.sending == nil {
		x.awaitHeader()
	}
	resp, err := c.cc.RoundTrip(out)
	late := x.headerArrived()
	switch {
	case err != nil && late:
		err = &Error{ReasonHeaderTimeout, errHeaderTimeout}
	case err != nil:
		err = x.headError(err)
	case late: // it came while its time ran out; the connection is closing
		_ = resp.Body.Close()
		err = &Error{ReasonHeaderTimeout, errHeaderTimeout}
	}
	if err == nil {
		err = x.answer(resp)
	}
	if err != nil {
		x.finish()
		return nil, err
	}
	return resp, nil
}

// answer makes net/http's response the caller's.
func (x *exchange) answer(resp *http.Response) error {
	resp.Request = x.req
	if x.conn.tls != nil {
		resp.TLS = x.conn.tls
	}
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return x.upgrade(resp)
	case resp.Body == http.NoBody:
		x.finish()
	default:
		x.body, resp.Body = resp.Body, x
	}
	return nil
}

// awaitHeader starts the time the upstream has for its answer: now that the
// request is sent.
func (x *exchange) awaitHeader() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.limit <= 0 || x.answered || !x.due.IsZero() {
		return
	}
	x.due = time.Now().Add(x.limit)
	switch c := x.conn; {
	case c.multiplexed():
		x.timer = time.AfterFunc(x.limit, x.expire)
	case c.timer == nil:
		c.timer = time.AfterFunc(x.limit, c.headerDue)
	default:
		c.timer.Reset(x.limit)
	}
}

// headerArrived stops the time and tells whether it had run out.
func (x *exchange) headerArrived() (late bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered = true
	switch {
	case x.due.IsZero():
	case x.timer != nil:
		x.timer.Stop()
	default:
		x.conn.timer.Stop()
	}
	return x.late
}

// expire ends the exchange if its time has run out. It may be called too early,
// by a timer that was set for the connection's exchange before.
func (x *exchange) expire() {
	x.mu.Lock()
	x.late = !x.answered && !x.due.IsZero() && !time.Now().Before(x.due)
	late := x.late
	x.mu.Unlock()
	switch {
	case !late:
	case x.cancel != nil:
		x.cancel(errHeaderTimeout)
	default:
		x.conn.abort()
	}
}

// tell completes info after the header has arrived or failed to.
func (x *exchange) tell(info *Info, err error) {
	info.Answered = err == nil
	if !x.conn.multiplexed() {
		info.Answered = info.Answered || x.conn.wire.received.Load() > x.received
	}
	info.BodySent = true
	if x.sending != nil {
		info.BodyTouched, info.BodySent, _ = x.sending.state()
	}
}

// Read reads the response body.
func (x *exchange) Read(p []byte) (int, error) {
	if x.failed != nil {
		return 0, x.failed
	}
	n, err := x.body.Read(p)
	if err == nil || x.over.Load() { // over: it was closed meanwhile, or ended before
		return n, err
	}
	if err != io.EOF {
		x.failed = x.pool.fail(x.bodyError(err))
		err = x.failed
	}
	x.finish()
	return n, err
}

// Close ends the exchange. Before the body's end it costs an HTTP/1.1
// connection.
func (x *exchange) Close() error {
	first := x.over.CompareAndSwap(false, true)
	err := x.body.Close()
	if first {
		x.release()
	}
	return err
}

// finish ends the exchange unless it has ended.
func (x *exchange) finish() {
	if x.over.CompareAndSwap(false, true) {
		x.release()
	}
}

// release gives the connection back and stops whatever was still being sent.
func (x *exchange) release() {
	if x.sending != nil {
		x.sending.end()
	}
	x.conn.current.Store(nil)
	x.pool.giveBack(x.conn)
	if x.cancel != nil {
		x.cancel(nil)
	}
	x.pool.inFlight.Add(-1)
}

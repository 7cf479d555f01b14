package listen

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// connKey is the context key of a request's *checkedConn.
type connKey struct{}

// checked returns c's head check, nil if c has none: HTTP/2 on TLS, or a
// connection that did not come from a [Listener].
func checked(c net.Conn) *checkedConn {
	switch c := c.(type) {
	case *checkedConn:
		return c
	case *checkedTLS:
		return &c.checkedConn
	}
	return nil
}

// tlsKey is the context key that requests on an HTTP/2 connection with TLS have.
type tlsKey struct{}

// ConnContext is for [http.Server.ConnContext]. Without it [Violation] and
// [BodyViolation] know nothing of HTTP/1 requests.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if cc := checked(c); cc != nil {
		return context.WithValue(ctx, connKey{}, cc)
	}
	if _, ok := c.(*tls.Conn); ok {
		return context.WithValue(ctx, tlsKey{}, true)
	}
	return ctx
}

// Encrypted tells whether r came over TLS. Of an HTTP/2 request, r.TLS tells
// only what the client wrote as its :scheme.
func Encrypted(r *http.Request) bool {
	return r.TLS != nil || r.ProtoMajor > 1 && r.Context().Value(tlsKey{}) != nil
}

// ConnState is for [http.Server.ConnState], or to be called from there. It does
// what [Raw] does when a handler hijacks a connection.
func ConnState(c net.Conn, s http.ConnState) {
	if s == http.StateHijacked {
		Raw(c)
	}
}

// Violation says why the head of r is refused, or nil. Ask before looking at
// anything else of r: of a refused HTTP/1 request nothing in it is the client's.
// HTTP/2 requests are held to the rules here and now.
func Violation(r *http.Request) *BadHead {
	if cc, ok := r.Context().Value(connKey{}).(*checkedConn); ok {
		if bad := cc.badHead.Load(); bad != nil {
			return bad
		}
	}
	if r.ProtoMajor == 1 {
		return nil
	}
	v := checkHTTP2(r)
	if v == nil {
		return nil
	}
	return &BadHead{
		Status: v.reason.status(), Reason: v.reason, Text: v.text,
		Method: shortMethod([]byte(r.Method)), Path: shortPath([]byte(r.RequestURI)),
	}
}

// BodyViolation says why reading the body of the request with this context
// failed. It is nil as long as nothing was wrong with the body, and when reading
// failed for another reason.
func BodyViolation(ctx context.Context) *BadBody {
	if cc, ok := ctx.Value(connKey{}).(*checkedConn); ok {
		return cc.badBody.Load()
	}
	return nil
}

// Raw ends the check: what c gives from here on is what the client sent,
// whatever it is. It must be called by whoever has hijacked c, before reading
// from it or from the reader that Hijack returned; [ConnState] does so. It does
// nothing for a connection that is not checked, and for one on which something
// was refused already, which has nothing more to give.
func Raw(c net.Conn) {
	if cc := checked(c); cc != nil {
		cc.pass()
	}
}

// Unwrap takes the check off c, which its caller has hijacked. It returns the
// accepted connection (a *net.TCPConn, if that is what was accepted, so that the
// kernel can splice) and the bytes already read from it that neither c nor
// net/http has given to anyone. They come after those buffered in the reader
// that Hijack returned, and before those still to be read from inner. Where the
// request's body was read to its end, or there was none, that reader is empty.
//
// c must not be read from afterwards. If c is not checked, it is returned.
func Unwrap(c net.Conn) (inner net.Conn, buffered []byte) {
	cc := checked(c)
	if cc == nil {
		return c, nil
	}
	cc.pass()
	cc.reading(true) // whoever reads from inner is bound by what was asked here
	return cc.Conn, cc.held.take()
}

// Package listen is the accepting side of a node's public listener: it stands
// between the network and net/http's Server, does TLS handshakes, and looks at
// every HTTP/1 request head before net/http does.
//
// # Why a head check
//
// net/http accepts spellings on which two HTTP parsers may disagree: bare LF
// line ends, folded lines, Content-Length beside Transfer-Encoding, equal
// Content-Length lines. Each is a way to smuggle a request past a proxy. A
// connection accepted here carries only what RFC 9112 allows a client to send;
// the rest is answered with a 4xx or 5xx and the connection is closed. The
// check follows body framing (Content-Length, chunked, trailers), so that it
// knows where the next head begins on a kept-alive or pipelined connection.
//
// # How it is used
//
//	ln := listen.New(inner, listen.Config{TLS: tlsConfig})
//	srv := &http.Server{
//		ConnContext:    listen.ConnContext, // lets handlers ask Violation
//		ConnState:      listen.ConnState,   // tells the check of hijacks
//		MaxHeaderBytes: listen.ServerMaxHeaderBytes, // not below Config's
//		Handler:        handler,
//	}
//	err := srv.Serve(ln) // never ServeTLS: ln has done the handshake
//
// and at the top of the handler, before anything is looked at:
//
//	if bad := listen.Violation(r); bad != nil {
//		// answer with bad.Status; the connection closes by itself
//	}
//
// # How a refused head is answered
//
// Answers to requests pipelined before a bad head must come first, and only
// net/http knows when they are written. So the connection hands net/http a
// small valid request in place of the bad head and nothing after it, ever.
// While that stand-in is being handled, [Violation] says what was wrong. The
// stand-in is "GET /" (or "HEAD /", so that the answer has no body) for a host
// that cannot exist, with "Connection: close". Nothing a client sends makes
// Violation answer except a head that was refused.
//
// # How a bad body is refused
//
// A violation inside a body (chunk framing, trailers) cannot be answered in
// place of the request: its handler is already running. The connection delivers
// what came before, then bytes that net/http's chunked reader never accepts,
// then the end. So the handler's Body.Read fails with net/http's own error,
// without the request's context being cancelled, and [BodyViolation] says what
// was wrong. The right answer is 400; the connection closes by itself.
//
// # Upgrades
//
// What follows a request that asks for an upgrade is either another protocol or
// another request, and only the answer decides. Until then such bytes are held
// back from net/http, which otherwise reads ahead by one byte while a handler
// runs. They become raw when the handler hijacks the connection ([ConnState],
// [Raw] or [Unwrap]); they are checked as the next head when net/http comes back
// for another request. A hijacker that wants to copy between sockets calls
// [Unwrap] after Hijack.
//
// # HTTP/2
//
// On TLS, ALPN decides first: a connection that negotiated h2 is handed to
// net/http as the *tls.Conn it needs, unchecked. On cleartext, a connection
// that starts with HTTP/2's preface is passed through unchecked; enable it with
// http.Protocols.SetUnencryptedHTTP2. What net/http makes of such a connection
// is held to the same rules by [Violation].
package listen

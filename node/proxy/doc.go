// Package proxy carries one HTTP exchange through a node: it matches a request
// to a route, rewrites what a proxy must, sends it to an upstream and streams
// the answer back, in both directions at once where both sides want it.
//
// What a client sent goes on as it came: the bytes of path and query, every
// end-to-end header, the framing of bodies, trailers with their values,
// "Expect: 100-continue". Dot segments are the exception: they are resolved,
// for matching and for forwarding alike. What is between two connections only
// stays there: hop-by-hop headers, HTTP versions, keep-alive. Forwarding headers
// are the node's own unless the peer is a proxy that the listener trusts.
//
// Names of request headers with "_" or "." in them are dropped unless the
// listener allows them. Of response headers, those named in a Connection header
// that also says "close" are not recognised, since net/http removes that
// header first.
//
// Every failure has a [Reason] and a [Side], which are in the log, in the
// counters and in the answer. A failure of the client's is never held against
// an upstream, and one that comes after the response has begun ends the
// client's stream abruptly, so that it cannot be taken for complete.
package proxy

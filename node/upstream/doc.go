// Package upstream holds a node's connections to upstreams: a Registry of
// pools, one Pool per Target, counted by reference so that a target which is
// also in the next route table keeps its connections and counters.
//
// A Pool sends one request on one connection, once. It never repeats a request
// by itself, as net/http's Transport does on a stale connection: the error
// comes back with an Info, and Retriable says whether trying once more on a
// fresh connection is safe.
//
// Every failure is an *Error with a stable Reason and a Side, so that a client
// which breaks off its own upload is never held against an upstream.
//
// What a caller owes:
//
//   - The request's Host, URL path, headers and trailers go out as they are.
//     URL.Host must not be empty and URL.Scheme must be the target's (http or
//     https), but neither decides where the request goes. A header map without
//     User-Agent gets Go's; an entry with no values sends none.
//   - A response's body is closed, or read to its end.
//   - The request body stays the caller's: it is read, never closed. If it has
//     a method SetReadDeadline(time.Time) error, a read that still waits for
//     the client when the exchange is over is ended through it; without that
//     method RoundTrip can return an error only once the client has moved. For
//     a server's request, embedding its Body and its *http.ResponseController
//     in one struct is enough.
//   - Informational responses are seen through httptrace's Got1xxResponse in
//     the request's context. A body announced with "Expect: 100-continue" is
//     first read when the upstream says 100 or Timeouts.Continue has passed,
//     and not at all when a final response comes before that.
package upstream

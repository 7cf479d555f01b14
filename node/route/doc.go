// Package route decides which route a request is for.
//
// A [Table] holds the compiled routes of one version. It never changes: With
// returns another one that shares all it can with the old, so that one change
// of a hundred thousand routes costs a few allocations, and a route that did
// not change is the same *Route in both. A table depends only on the records
// it was given, not on their order: of those of one name the newest, or while
// that cannot be served the last one before it that could.
//
// Of all routes that match a request the one with the most specific host wins:
// the exact one, then the wildcard, then any host. Among those of one host the
// longest path prefix on segment borders wins. A host of its own does not hide
// the others: a request that no route of the exact host matches is offered to
// the wildcard, and then to the routes for any host.
//
// The package only decides: no clock, no goroutine, no I/O.
package route

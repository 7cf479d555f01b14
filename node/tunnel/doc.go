// Package tunnel runs tunnel instances on a node, as NodePass has them: an
// instance is one URL, the server or client end of a tunnel, or a client that
// forwards by itself.
//
// A [Supervisor] is told which instances must run here and keeps one run of
// each: begun anew where its URL or its count of starts is another, left alone
// by everything else, tried again every few seconds where it fails. Every run
// owns its goroutines and waits for them.
//
// A run finds its mode (mode.go). A server (server.go) listens at the tunnel's
// port through a door (door.go), which looks at the first bytes of whoever
// comes and hands them to the generation of the wire they speak; a client
// (client.go) dials, and finds out what its server speaks (detect.go). Either
// way there are sessions, from packages below that know the wire; see
// [signalbox/node/tunnel/link]. The end that receives users is entry.go, the one
// that dials targets exit.go. A client without a server is single.go, which
// needs neither.
package tunnel

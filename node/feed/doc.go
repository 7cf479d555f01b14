// Package feed is the receiving end of the wire between control planes and a
// node, as signalbox/v1/feed.proto describes it.
//
// A node keeps one stream to every control plane it knows. On one of them it
// asks to be fed; on all of them it says what it serves and what it carried.
// So the loss of a control plane costs nothing but asking another, over a
// stream that is already there.
//
// Three layers, each testable alone:
//
//   - [Assembler] puts updates together from their parts and notices gaps.
//   - machine decides: which stream feeds, what is acknowledged, whether the
//     node is ready. Messages in, messages out; no clock and no goroutine.
//   - [Client] owns a machine, the streams and the clock. One loop holds all
//     state; every stream has a goroutine that reads and one that sends, so
//     that a control plane which takes nothing holds up no other.
//
// # Noticing a frozen peer
//
// A control plane that stops without closing its connection is noticed by a
// probe: one that was silent for a second is sent a grpc.health.v1 Check on the
// stream's own connection, and has two seconds to answer. Every answer is a
// sign of life, a refusal too. gRPC's own keepalive is not used: its client
// does not ping more often than every ten seconds, and a server must be told
// to bear it.
package feed

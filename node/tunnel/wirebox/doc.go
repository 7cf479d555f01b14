// Package wirebox is how two ends of a tunnel speak that both are Signalbox:
// one TCP connection, in TLS always, on which both have proved the key without
// sending it, and which carries any number of streams. The bytes are described
// in proto/signalbox/v1/tunnel.proto.
//
//   - [Server] takes connections of any number of clients, [Dial] makes one.
//   - session.go is what both have then: streams, and a ping each second that
//     notices a lost peer.
//   - stream.go carries a TCP connection, datagram.go datagrams.
package wirebox

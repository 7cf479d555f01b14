// Package wire4 speaks the wire of NodePass 1.4.4, as a server and as a client,
// with either end receiving the users.
//
// A client connects to the server's tunnel address, sends the key and is told
// which end receives users and how connections are secured. That connection,
// the control connection, then carries signals and beats. Every other one that
// the client makes is a pool connection: the server gives it an id of 8
// hexadecimal digits, and it waits until a signal on the control connection
// says what it is used for. It carries one user's TCP connection, or one
// datagram and one answer to it, and is closed.
//
// What the wire cannot do, nobody who speaks it can:
//
//   - Keys prove nothing and hide nothing: every byte of a message is combined
//     with the key's length. Some lengths make a byte of a signal the end of
//     its line, and are refused: see [Server.Err].
//   - Two clients behind one IP address cannot be told apart, so the second is
//     refused while the first one lives.
//   - Without TLS a pool connection says nothing, so whoever connects from a
//     client's own address, says nothing and goes on waiting is one.
//   - Nobody answers a signal: whether the target was reached, and how long the
//     way to the peer is, are not known.
//   - A datagram has at most 8192 bytes and one answer, and may overtake others.
package wire4

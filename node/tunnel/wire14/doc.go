// Package wire14 speaks the wire of NodePass 1.14 with pools of TCP connections
// (its type 0), as a server and as a client, with either end receiving the
// users.
//
// A client asks the server's tunnel address with GET /, shows by a token that it
// has the key, and is told which end receives users, how connections are secured
// and how many may wait. Every connection that its address makes then, other
// than to ask again, is a pool connection: the server gives it an id of 4 bytes.
// The first one has the id 00000000 and becomes the control connection, which
// carries signals. Each of the others waits until a signal says what it is used
// for, carries one user's TCP connection, or the datagrams of one user's
// address, and is closed.
//
// What the wire cannot do, nobody who speaks it can:
//
//   - The token is the same every time and is sent in clear, and signals give the
//     key away to whoever can read them. Without a verified certificate the wire
//     protects from accidents, and from who only listens. Both ends compare the
//     fingerprints that they see of a certificate, but whoever stands between
//     them learns the key, and can forge that.
//   - Two clients behind one IP address cannot be told apart, so the second is
//     refused while the first one lives.
//   - Without TLS a pool connection says nothing, so whoever connects from a
//     client's own address, says nothing and goes on waiting is one.
//   - Nobody answers a signal: whether the target was reached is not known.
//   - Datagrams are written without a frame. Each is one TLS record, or one write
//     to TCP: without TLS those sent back to back may become one, and long ones
//     may become several. They have at most 16384 bytes. NodePass itself cuts
//     what a record of TLS is too short for.
//   - NodePass itself answers nothing any more to a user who has ended what he
//     sends.
//
// NodePass servers with a verified certificate (tls=2) do not work whoever their
// client is; ours does.
package wire14

// Package node wires the parts below it into one node: a process that carries
// traffic by a table it is fed, serves on when nobody feeds it, and reports
// what it carried.
//
// In the order in which data flows:
//
//   - listeners accept, and answer 503 until there is a table;
//   - the last-known-good file, if there is one, gives the first table;
//   - [feed.Client] brings every later one, and takes acks and reports back;
//   - a table applies them: it compiles routes, hands them to the proxy, and
//     has them kept in the file, later and elsewhere;
//   - the admin endpoint tells operators of the machine how it stands.
//
// A node has no state but its table: two processes with the same table are
// the same to whoever uses them.
package node

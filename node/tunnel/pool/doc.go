// Package pool is what the wires have in common that carry each user on a
// connection of their own: connections that wait to be used, how many of them a
// client keeps, and how what belongs to a session ends with it.
//
// A client makes the connections, the server gives each an id, and they wait at
// both ends. The end that receives users takes any of them, says its id on the
// control connection, and the other end takes that one.
package pool

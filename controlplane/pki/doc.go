// Package pki makes the certificates of an installation: one root, which signs
// what servers show and what members of etcd show each other, and below it an
// authority for nodes, which can sign nothing but nodes.
//
// A node's certificate lives for hours. It says which node its holder is by a
// URI, "signalbox:node/NAME", and is good for clients only: whoever steals it
// can be that node until it ends or is revoked, and never a control plane.
//
// Nothing here reads files but what is in files.go, and nothing reads the
// clock: moments are passed in.
package pki

// Package pki makes the certificates of an installation, by three authorities
// of which none stands above another: one signs what servers show, one signs
// members of etcd and their clients, and one can sign nothing but nodes. Each is
// trusted by those alone who must know its holders: what a server or a node
// holds is no key to etcd.
//
// A node's certificate lives for hours. It says which node its holder is by a
// URI, "signalbox:node/NAME", and is good for clients only: whoever steals it
// can be that node until it ends or is revoked, and never a control plane.
//
// Nothing here reads files but what is in files.go, and nothing reads the
// clock: moments are passed in.
package pki

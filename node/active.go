package node

import "time"

// Active is when something of a route last moved on this node; the zero time if
// nothing has. Control planes hear of it with the next report: this is for who
// asks from the same process. created is the revision that the route was created
// at.
func (n *Node) Active(route string, created int64) time.Time { return n.book.Active(route, created) }

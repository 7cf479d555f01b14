package route

import (
	"hash/maphash"
	"slices"
	"strings"
)

// A node is where the prefixes of one host end or pass through: a tree by path
// segment. It is never changed once the edit that made it is over. A nil node
// is the empty tree.
type node struct {
	owner *edit
	// route has the prefix that ends here; nil if there is none.
	route *Route
	// others have the same match as route and lost it, in order of
	// [builder.before]. The control plane lets no two routes have one match, so
	// this is nil but for a fault, or where one is kept that should have
	// another by now.
	others *[]*Route
	kids   *branch[*node]
}

// match returns the route with the longest prefix of path, which begins with a
// slash, or nil.
func (n *node) match(seed maphash.Seed, path string) *Route {
	var best *Route
	for n != nil {
		if n.route != nil {
			best = n.route
		}
		if path == "" || n.kids == nil {
			break
		}
		segment := path[1:]
		path = ""
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment, path = segment[:i], segment[i:]
		}
		n, _ = n.kids.get(maphash.String(seed, segment), segment)
	}
	return best
}

// at returns where a prefix, which is as stored or empty, ends: nil if there
// is no route of that prefix.
func (n *node) at(seed maphash.Seed, prefix string) *node {
	for n != nil && prefix != "" {
		var segment string
		segment, prefix = cut(prefix)
		n, _ = n.kids.get(maphash.String(seed, segment), segment)
	}
	if n == nil || n.route == nil {
		return nil
	}
	return n
}

// put returns the tree with r at a prefix.
func (n *node) put(b *builder, prefix string, r *Route) *node {
	n = n.owned(b.e)
	if prefix == "" {
		n.add(b, r)
		return n
	}
	segment, rest := cut(prefix)
	kid, _ := n.kids.get(maphash.String(b.e.seed, segment), segment)
	if made := kid.put(b, rest, r); made != kid {
		n.kids = n.kids.put(b.e, segment, made)
	}
	return n
}

// add gives n one more route. n must be owned.
func (n *node) add(b *builder, r *Route) {
	if n.route == nil {
		n.route = r
		return
	}
	b.share(r)
	var others []*Route
	if n.others != nil {
		others = slices.Clone(*n.others)
	}
	if b.before(r, n.route) {
		r, n.route = n.route, r
	}
	i, _ := slices.BinarySearchFunc(others, r, func(o, r *Route) int {
		if b.before(o, r) {
			return -1
		}
		return 1
	})
	others = slices.Insert(others, i, r)
	n.others = &others
}

// without returns the tree without r, which must be at the prefix. Nothing is
// left of what led only there.
func (n *node) without(b *builder, prefix string, r *Route) *node {
	n = n.owned(b.e)
	if prefix == "" {
		n.drop(b, r)
	} else {
		segment, rest := cut(prefix)
		kid, _ := n.kids.get(maphash.String(b.e.seed, segment), segment)
		if made := kid.without(b, rest, r); made == nil {
			n.kids = n.kids.without(b.e, segment)
		} else if made != kid {
			n.kids = n.kids.put(b.e, segment, made)
		}
	}
	if n.route == nil && n.kids == nil {
		return nil
	}
	return n
}

// drop takes r off n, which must be owned; the next in line takes its place.
func (n *node) drop(b *builder, r *Route) {
	if n.others == nil {
		n.route = nil
		return
	}
	b.share(r)
	all := append([]*Route{n.route}, *n.others...)
	all = slices.DeleteFunc(all, func(o *Route) bool { return o == r })
	n.route, n.others = all[0], nil
	if rest := all[1:]; len(rest) > 0 {
		n.others = &rest
	}
}

// owned returns n, or a copy of it that e may change.
func (n *node) owned(e *edit) *node {
	switch {
	case n == nil:
		return &node{owner: e}
	case n.owner == e:
		return n
	}
	c := *n
	c.owner = e
	return &c
}

// cut takes the first segment off a prefix that begins with a slash.
func cut(prefix string) (segment, rest string) {
	prefix = prefix[1:]
	if i := strings.IndexByte(prefix, '/'); i >= 0 {
		return prefix[:i], prefix[i:]
	}
	return prefix, ""
}

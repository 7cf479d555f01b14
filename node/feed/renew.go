package feed

import (
	"maps"
	"slices"
	"time"
)

// A renewal is what is left to do after [Client.Renew].
type renewal struct {
	seen int64 // calls of it
	old  []int // streams that were open then, and are still to be ended
	last int   // the one that was ended last
}

// renew ends the streams that were opened before the node was known by what it
// is known by now. One is ended once the one before is open again, so that
// there is always one left to be fed on, where there are several.
func (l *loop) renew(now time.Time) {
	r := &l.renewal
	if n := l.client.renewals.Load(); n != r.seen {
		r.seen, r.old = n, slices.Sorted(maps.Keys(l.attempts))
		for _, k := range l.links.all {
			k.due = now
		}
	}
	for len(r.old) > 0 && l.attempts[r.last] == nil && l.settled() {
		r.last, r.old = r.old[0], r.old[1:]
		if a := l.attempts[r.last]; a != nil {
			a.cancel(errRenewed)
		}
	}
}

// settled reports whether every stream that is being opened is open.
func (l *loop) settled() bool {
	for _, a := range l.attempts {
		if !a.welcomed {
			return false
		}
	}
	return true
}

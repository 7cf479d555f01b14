package history

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// state is what is known of one route after a sequence of operations.
type state struct {
	exists bool
	value  string
	// revision is that of the write in force, zero while only a write whose
	// answer was lost knows it.
	revision int64
	// created is the revision of the write the route began with, zero while
	// it is not known.
	created int64
	// floor is the least revision that the newest write can have had: later
	// ones have higher.
	floor int64
}

// step says whether an operation may happen to a route, and what becomes of
// the route then.
func step(s state, o Operation) (bool, state) {
	switch o.Outcome {
	case Refused:
		return true, s
	case Absent:
		return !s.exists, s
	case Exists:
		return s.exists, s
	case Moved:
		// A delete answers a route that is not there with Absent.
		return (s.exists || o.Kind == Put) && o.Expected > 0 && !s.surelyAt(o.Expected), s
	}
	if o.Kind == Get {
		return s.read(o.Answer)
	}
	return s.write(o)
}

// surelyAt reports whether the route is known to be at a revision.
func (s state) surelyAt(rev int64) bool { return s.exists && s.revision == rev }

// mayBeAt reports whether the route can be at a revision that was expected.
func (s state) mayBeAt(rev int64) bool {
	switch {
	case rev == Any:
		return true
	case rev == 0:
		return !s.exists
	}
	return s.surelyAt(rev) || s.exists && s.revision == 0 && rev >= s.floor
}

// read is what a get that found the route learns of it.
func (s state) read(a Answer) (bool, state) {
	if !s.exists || a.Found != s.value {
		return false, s
	}
	if a.Revision > 0 {
		if !s.mayBeAt(a.Revision) {
			return false, s
		}
		s.revision, s.floor = a.Revision, a.Revision
	}
	return s.born(a.Created)
}

// born holds what is told of the route's creation against what is known.
func (s state) born(created int64) (bool, state) {
	if created == 0 {
		return true, s
	}
	if s.created != 0 && s.created != created || s.revision != 0 && created > s.revision {
		return false, s
	}
	s.created = created
	return true, s
}

// write is what becomes of the route by a put or delete that was done or, if
// its outcome is unknown, may have been.
func (s state) write(o Operation) (bool, state) {
	unknown := o.Outcome == Unknown
	if !s.mayBeAt(o.Expected) || o.Kind == Delete && !s.exists {
		// One of unknown outcome did nothing then. If nothing else fits, it
		// comes last, where it disturbs nobody.
		return unknown, s
	}
	floor := max(s.floor, o.Expected)
	after := state{exists: o.Kind == Put, value: o.Value, created: s.created, floor: floor + 1}
	if !unknown && o.Revision > 0 {
		if o.Revision <= floor {
			return false, s // revisions only grow
		}
		after.revision, after.floor = o.Revision, o.Revision
	}
	if o.Kind == Delete {
		return true, state{floor: after.floor}
	}
	if !s.exists {
		after.created = after.revision
	}
	if unknown {
		return true, after
	}
	return after.born(o.Created)
}

// model is a route, for porcupine. The input is the whole operation: what
// cannot have happened is told by its answer.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, input, _ any) (bool, any) {
		ok, after := step(s.(state), input.(Operation))
		return ok, after
	},
	DescribeOperation: func(input, _ any) string {
		o := input.(Operation)
		return fmt.Sprintf("%s: %s", o.Call, o.words(o.Kind))
	},
	DescribeState: func(s any) string { return s.(state).String() },
	DescribeOperationMetadata: func(m any) string {
		said, _ := m.(string)
		return said
	},
}

// String is the state in words.
func (s state) String() string {
	switch {
	case !s.exists:
		return "there is none"
	case s.revision == 0:
		return s.value + " at a revision nobody knows"
	}
	return fmt.Sprintf("%s at %d", s.value, s.revision)
}

package feed

import (
	"errors"
	"fmt"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A Change takes a node from one version to a later one. It is an update with
// all its parts in one place.
type Change struct {
	// Whole says that the change is the whole state: what is not in Upserts
	// is gone. Removals is then empty.
	Whole bool
	// From is the version the change starts from, nil in a whole state, and
	// To the version served once it is applied.
	From, To *signalboxv1.Version
	// Upserts are the records that are new or were written again, and
	// Removals those that are gone. The sender names each record once.
	Upserts  []*signalboxv1.Record
	Removals []*signalboxv1.RecordKey
}

// An Assembler puts updates together from their parts. It knows the version
// the node serves, and lets nothing through that does not continue from it.
// The zero value serves nothing yet.
type Assembler struct {
	serving *signalboxv1.Version // nil until the first change
	noted   *Change              // the parts so far; nil between updates
	next    int32                // the part that must come next, while noted
	parts   int32                // of how many, while noted
	skip    bool                 // what comes belongs to an update given up
}

// Serving is the version the last change led to, nil when there was none. It
// must not be changed.
func (a *Assembler) Serving() *signalboxv1.Version { return a.serving }

// Drop forgets the parts noted so far. What comes next is the answer to a
// Feed, and begins with a first part; whatever else comes before it belongs
// to an update that was given up, and is passed over.
func (a *Assembler) Drop() { a.noted, a.skip = nil, true }

// Take notes a part. With the last part of an update it returns the change,
// which the node must then serve; before that it returns nil. An error says
// why the part cannot be used: the node must send Feed, and the rest of that
// update is passed over.
func (a *Assembler) Take(u *signalboxv1.Update) (*Change, error) {
	if a.skip && u.GetPart() != 1 {
		return nil, nil
	}
	a.skip = false
	if err := a.check(u); err != nil {
		a.Drop()
		return nil, err
	}
	a.note(u)
	if u.GetPart() < u.GetParts() {
		return nil, nil
	}
	done := a.noted
	a.noted, a.serving = nil, done.To
	return done, nil
}

// check says why a part is not the one that may come now.
func (a *Assembler) check(u *signalboxv1.Update) error {
	switch part, parts := u.GetPart(), u.GetParts(); {
	case empty(u.GetTo()):
		return errors.New("the update does not say which version it leads to")
	case part < 1 || part > parts:
		return fmt.Errorf("part %d of %d", part, parts)
	case a.noted == nil && part != 1:
		return fmt.Errorf("part %d came before part 1", part)
	case a.noted == nil:
		return a.checkFrom(u)
	case part != a.next || parts != a.parts:
		return fmt.Errorf("part %d of %d came instead of part %d of %d", part, parts, a.next, a.parts)
	case !same(u.GetTo(), a.noted.To) || (u.GetFrom() == nil) != (a.noted.From == nil) || !same(u.GetFrom(), a.noted.From):
		return fmt.Errorf("part %d is of an update from %s to %s, those before it from %s to %s", part,
			text(u.GetFrom()), text(u.GetTo()), text(a.noted.From), text(a.noted.To))
	}
	return nil
}

// checkFrom says why an update cannot be applied to what is served.
func (a *Assembler) checkFrom(u *signalboxv1.Update) error {
	from, to := u.GetFrom(), u.GetTo()
	switch {
	case from == nil:
		return nil // the whole state starts from anywhere
	case !same(from, a.serving):
		return fmt.Errorf("the update starts from %s, but %s is served", text(from), text(a.serving))
	case !empty(from) && (from.GetEpoch() != to.GetEpoch() || from.GetRevision() > to.GetRevision()):
		return fmt.Errorf("the update from %s leads to %s, which is not later", text(from), text(to))
	}
	return nil
}

// note adds a part that was checked to those before it.
func (a *Assembler) note(u *signalboxv1.Update) {
	if a.noted == nil {
		whole := empty(u.GetFrom())
		a.noted = &Change{Whole: whole, From: u.GetFrom(), To: u.GetTo()}
		a.parts = u.GetParts()
	}
	a.next = u.GetPart() + 1
	a.noted.Upserts = append(a.noted.Upserts, u.GetUpserts()...)
	if !a.noted.Whole {
		a.noted.Removals = append(a.noted.Removals, u.GetRemovals()...)
	}
}

// empty reports whether v stands for no state at all.
func empty(v *signalboxv1.Version) bool { return v.GetEpoch() == "" }

// same reports whether two versions are one; all empty ones are.
func same(v, w *signalboxv1.Version) bool {
	return v.GetEpoch() == w.GetEpoch() && (empty(v) || v.GetRevision() == w.GetRevision())
}

// reached reports whether v is at w or later. Versions of different epochs
// cannot be compared, so one of them has not reached the other.
func reached(v, w *signalboxv1.Version) bool {
	return v.GetEpoch() == w.GetEpoch() && v.GetRevision() >= w.GetRevision()
}

// text is a version as errors and logs have it.
func text(v *signalboxv1.Version) string {
	if empty(v) {
		return "nothing"
	}
	return fmt.Sprintf("%s.%d", v.GetEpoch(), v.GetRevision())
}

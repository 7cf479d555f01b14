package api

import (
	"fmt"
	"strconv"
	"strings"

	"signalbox/store"
)

// An eventID is a place among all events: behind one of the changes of a
// transaction.
type eventID struct {
	version store.Version
	// index counts the changes of the transaction from 0.
	index int
}

// allOf is an index behind all changes of a transaction: it has fewer.
const allOf = store.MaxOps

// behind returns the id of the place behind a state, whatever made it.
func behind(v store.Version) eventID { return eventID{v, allOf} }

// String is "EPOCH.REVISION.INDEX".
func (id eventID) String() string {
	return fmt.Sprintf("%s.%d.%d", id.version.Epoch, id.version.Revision, id.index)
}

// parseEventID is the inverse of String.
func parseEventID(s string) (eventID, bool) {
	rest, index, ok := cutLast(s)
	i, err := strconv.ParseUint(index, 10, 16)
	if !ok || err != nil {
		return eventID{}, false
	}
	epoch, revision, ok := cutLast(rest)
	rev, err := strconv.ParseInt(revision, 10, 64)
	if !ok || err != nil || rev < 0 || epoch == "" {
		return eventID{}, false
	}
	id := eventID{store.Version{Epoch: epoch, Revision: store.Revision(rev)}, int(i)}
	return id, id.String() == s // one place has one id
}

// cutLast cuts a string at its last dot.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

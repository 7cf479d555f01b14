package history

import (
	"fmt"
	"strings"
	"time"
)

// A Kind is what a call does.
type Kind int

// The kinds of calls.
const (
	// Get reads a route.
	Get Kind = iota
	// Put writes a route.
	Put
	// Delete removes a route.
	Delete
)

// Any is the Expected of a call that asks for no revision.
const Any int64 = -1

// A Call is what a client asks for.
type Call struct {
	Kind  Kind
	Route string
	// Value is what a put writes. No two puts of a route may write the same.
	Value string
	// Expected is the revision that a put or delete asks for: zero that there
	// is no route (of a put alone), Any for none.
	Expected int64
}

// An Outcome is how a call ended.
type Outcome int

// The outcomes.
const (
	// Unknown: it was done, or will be, or neither.
	Unknown Outcome = iota
	// Done: the put wrote, the delete removed, the get found the route.
	Done
	// Absent: the get or delete found no such route.
	Absent
	// Exists: the put that asked for none found a route.
	Exists
	// Moved: the put or delete found another revision than it asked for.
	Moved
	// Refused: nothing was done, and nothing is said of the route.
	Refused
)

// An Answer is how a call ended, and what came with it.
type Answer struct {
	Outcome Outcome
	// Found is the value that a get found.
	Found string
	// Revision is that of the write that was made, or found by a get. Zero if
	// it was not told.
	Revision int64
	// Created is the revision of the write that the route began with. Zero if
	// it was not told.
	Created int64
	// Said is the error in full, for people.
	Said string
}

// An Operation is a call with its answer.
type Operation struct {
	Client int
	Call
	Answer
	// Began and Ended are since the recorder was made. An operation of
	// unknown outcome may take effect after it has ended.
	Began, Ended time.Duration
}

// String is one line, as "0.120 s to 0.125 s  client 3 puts v7 if at 41: done at 52".
func (o Operation) String() string {
	line := fmt.Sprintf("%.3f s to %.3f s  client %d %s: %s", o.Began.Seconds(), o.Ended.Seconds(), o.Client, o.Call, o.Answer.words(o.Kind))
	if o.Said != "" {
		line += " (" + o.Said + ")"
	}
	return line
}

// String is what is asked for, without the route.
func (c Call) String() string {
	words := []string{"gets"}
	switch c.Kind {
	case Put:
		words = []string{"puts", c.Value}
	case Delete:
		words = []string{"deletes"}
	}
	switch {
	case c.Kind == Get || c.Expected == Any:
	case c.Expected == 0:
		words = append(words, "if there is none")
	default:
		words = append(words, fmt.Sprint("if at ", c.Expected))
	}
	return strings.Join(words, " ")
}

// words are the answer to a call of a kind.
func (a Answer) words(kind Kind) string {
	switch a.Outcome {
	case Done:
		if kind == Get {
			return fmt.Sprintf("%s at %d", a.Found, a.Revision)
		}
		return fmt.Sprint("done at ", a.Revision)
	case Absent:
		return "there is none"
	case Exists:
		return "there is one"
	case Moved:
		return "it is at another revision"
	case Refused:
		return "refused"
	}
	return "nobody knows"
}

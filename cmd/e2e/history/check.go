package history

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Illegal is the error for a history that no single table of routes can have.
type Illegal struct {
	// Route is the first of those whose answers do not fit together, in order
	// of names; Routes are all of them.
	Route  string
	Routes []string
	// Story is what happened to the route, in words, a line each; what does
	// not fit is marked.
	Story string
	// Picture is an HTML file that shows it; empty if it could not be written.
	Picture string
}

func (e *Illegal) Error() string {
	return fmt.Sprintf("what was answered about route %q fits no order of events (%d such routes); a picture is %s:\n%s", e.Route, len(e.Routes), cmp.Or(e.Picture, "nowhere"), e.Story)
}

// Undecided is the error for a history that could not be checked in time.
type Undecided struct {
	Route string
	// Operations and Unknown are how many the route has, and how many of them
	// had an outcome that nobody knows.
	Operations, Unknown int
	After               time.Duration
}

func (e *Undecided) Error() string {
	return fmt.Sprintf("route %q, with %d operations of which the outcome of %d is unknown, could not be checked in %v: use more routes, with fewer operations each", e.Route, e.Operations, e.Unknown, e.After)
}

// Check returns nil if all operations fit together, and otherwise *Illegal,
// with a picture in dir, or *Undecided if some route took longer than limit.
func Check(ops []Operation, dir string, limit time.Duration) error {
	byRoute := map[string][]Operation{}
	for _, o := range ops {
		byRoute[o.Route] = append(byRoute[o.Route], o)
	}
	var bad *Illegal
	var late *Undecided
	for _, name := range slices.Sorted(maps.Keys(byRoute)) {
		one := entries(byRoute[name])
		verdict, info := porcupine.CheckOperationsVerbose(model, one, limit)
		switch {
		case verdict == porcupine.Illegal && bad == nil:
			bad = &Illegal{Route: name, Routes: []string{name}, Story: story(one, info), Picture: picture(dir, name, info)}
		case verdict == porcupine.Illegal:
			bad.Routes = append(bad.Routes, name)
		case verdict == porcupine.Unknown && late == nil:
			late = &Undecided{Route: name, Operations: len(one), Unknown: unknown(byRoute[name]), After: limit}
		}
	}
	switch {
	case bad != nil:
		return bad
	case late != nil:
		return late
	}
	return nil
}

// entries are the operations of one route as porcupine takes them: without
// those that say nothing, and with those of unknown outcome open to the end.
func entries(ops []Operation) []porcupine.Operation {
	var all []porcupine.Operation
	var last int64
	rows := 0 // of the picture
	for _, o := range ops {
		last, rows = max(last, int64(o.Ended)), max(rows, o.Client+1)
	}
	for _, o := range ops {
		if o.Outcome == Refused || o.Outcome == Unknown && o.Kind == Get {
			continue
		}
		e := porcupine.Operation{ClientId: o.Client, Input: o, Call: int64(o.Began), Return: int64(o.Ended), Metadata: o.Said}
		if o.Outcome == Unknown {
			// Its client goes on meanwhile, so it has a row of its own.
			e.ClientId, e.Return = rows, last+1
			rows++
		}
		all = append(all, e)
	}
	return all
}

// unknown counts the writes whose outcome nobody knows.
func unknown(ops []Operation) (n int) {
	for _, o := range ops {
		if o.Outcome == Unknown && o.Kind != Get {
			n++
		}
	}
	return n
}

// around is how many operations a story tells before the first that does not
// fit, and after it.
const around = 15

// story tells in order of their beginning what happened around the operation
// at which the longest order of events that fits comes to its end.
func story(ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	fits := map[Operation]bool{}
	before := state{}
	for _, e := range longest {
		o := e.Input.(Operation)
		fits[o] = true
		_, before = step(before, o)
	}
	slices.SortStableFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	// The first to end of those that are left had to be next, or before.
	stuck := -1
	for i, e := range ops {
		if !fits[e.Input.(Operation)] && (stuck < 0 || e.Return < ops[stuck].Return) {
			stuck = i
		}
	}
	var lines []string
	for i := max(0, stuck-around); i < min(len(ops), stuck+around+1); i++ {
		mark := "   "
		if i == stuck {
			mark = "-> "
		}
		lines = append(lines, mark+ops[i].Input.(Operation).String())
	}
	return fmt.Sprintf("%s\nAt the arrow, %d of %d operations are in order, after which it is so: %s.", strings.Join(lines, "\n"), len(longest), len(ops), before)
}

// picture writes what porcupine shows, and returns the file's name.
func picture(dir, route string, info porcupine.LinearizationInfo) string {
	file, err := os.CreateTemp(dir, "history-"+strings.ReplaceAll(route, "/", "-")+"-*.html")
	if err != nil {
		return "" // the story tells it too
	}
	defer func() { _ = file.Close() }()
	if porcupine.Visualize(model, info, file) != nil {
		return ""
	}
	return file.Name()
}

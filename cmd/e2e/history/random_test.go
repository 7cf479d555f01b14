package history_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"signalbox/cmd/e2e/history"
)

// table is what really happens: one route, one operation at a time.
type table struct {
	value                      string
	revision, created, highest int64
}

// do does what is asked and answers it.
func (r *table) do(c history.Call) history.Answer {
	switch {
	case c.Kind == history.Get && r.revision == 0, c.Kind == history.Delete && r.revision == 0:
		return end(history.Absent)
	case c.Kind == history.Get:
		return since(found(r.value, r.revision), r.created)
	case c.Expected == 0 && r.revision != 0:
		return end(history.Exists)
	case c.Expected != history.Any && c.Expected != r.revision:
		return end(history.Moved)
	}
	r.highest++
	if c.Kind == history.Delete {
		*r = table{highest: r.highest}
		return done(r.highest)
	}
	if r.revision == 0 {
		r.created = r.highest
	}
	r.value, r.revision = c.Value, r.highest
	return since(done(r.revision), r.created)
}

// drawCall draws what is asked for: mostly what can be done.
func drawCall(t *rapid.T, i int, r *table) history.Call {
	c := history.Call{Route: "r", Kind: rapid.SampledFrom([]history.Kind{history.Get, history.Put, history.Put, history.Delete}).Draw(t, "kind"), Expected: history.Any}
	if c.Kind == history.Put {
		c.Value = fmt.Sprint("v", i)
	}
	if c.Kind != history.Get {
		c.Expected = rapid.SampledFrom([]int64{history.Any, history.Any, r.revision, max(r.revision-1, 1)}).Draw(t, "expected")
	}
	if c.Kind == history.Delete && c.Expected == 0 {
		c.Expected = history.Any
	}
	return c
}

// drawHistory draws operations that are done one after the other, each at some
// moment while it is under way or, if its answer is lost, at any later one, or
// never.
func drawHistory(t *rapid.T) ([]history.Operation, *table) {
	const apart = 10
	r := &table{highest: rapid.Int64Range(0, 5).Draw(t, "others' writes")}
	near := rapid.IntRange(0, 4*apart)
	var ops []history.Operation
	for i := range rapid.IntRange(1, 40).Draw(t, "operations") {
		r.highest += rapid.Int64Range(0, 2).Draw(t, "others' writes")
		c, at := drawCall(t, i, r), 1000+i*apart
		o := history.Operation{Client: i % 4, Call: c, Began: time.Duration(at - near.Draw(t, "began before"))}
		o.Ended = time.Duration(at + near.Draw(t, "ended after"))
		switch rapid.SampledFrom([]string{"", "", "", "", "", "lost", "late", "never", "refused"}).Draw(t, "mishap") {
		case "":
			o.Answer = r.do(c)
		case "late":
			o.Ended = o.Began
			r.do(c)
		case "lost":
			r.do(c)
		case "refused":
			o.Answer = end(history.Refused)
		}
		ops = append(ops, o)
	}
	return ops, r
}

func TestEveryHistoryOfARealTablePasses(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		ops, _ := drawHistory(t)
		if err := history.Check(ops, dir, time.Minute); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEveryMutatedHistoryIsFound(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		ops, r := drawHistory(t)
		var writes []history.Operation
		for _, o := range ops {
			if o.Outcome == history.Done && o.Kind == history.Put {
				writes = append(writes, o)
			}
		}
		if len(writes) == 0 {
			t.Skip("nothing to spoil")
		}
		w := rapid.SampledFrom(writes).Draw(t, "write")
		last := op(1_000_000, 1_000_001, get(), history.Answer{})
		switch rapid.SampledFrom([]string{"doubled", "stale", "elsewhere", "invented", "repeated"}).Draw(t, "fault") {
		case "doubled":
			last.Answer = found(w.Value, r.highest+1)
		case "stale":
			// Whatever comes after all of it, whoever read it before.
			ops = append(ops, op(900_000, 900_001, put("after"), done(r.highest+1)))
			last.Answer = found(w.Value, w.Revision)
		case "elsewhere":
			ops = append(ops, op(900_000, 900_001, put("after"), done(r.highest+1)))
			last.Answer = found("after", r.highest+2)
		case "invented":
			last.Answer = found("invented", r.highest+1)
		case "repeated":
			// Another write of the same revision.
			last = op(1_000_000, 1_000_001, put("again"), done(w.Revision))
		}
		var bad *history.Illegal
		if err := history.Check(append(ops, last), dir, time.Minute); !errors.As(err, &bad) {
			t.Fatalf("got %v", err)
		}
	})
}

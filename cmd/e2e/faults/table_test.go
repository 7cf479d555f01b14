//go:build e2e

package faults

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A row is what came of one scenario.
type row struct {
	fault                   string
	sent, failed            int
	acked, refused, unknown int
	late                    int
	slowest, refusedFor     time.Duration
	lost, applied           int
	counters                string
	stalled, took           time.Duration
	result                  string
}

// A table is the rows of all scenarios so far.
type table struct {
	mu   sync.Mutex
	rows []*row
}

func (t *table) add(r *row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// heads are the columns: requests to nodes that are up; writes by how they were
// answered, how many calls a client did not wait for longer than tryPatience,
// the longest that one who stays was not told what became of a write that was
// not done, and the longest that any other, whichever way it tried, went
// without one that was done; acknowledged writes that the store does not have,
// and refused ones that it has; what the API counts of requests against those
// that were answered.
var heads = []string{
	"fault", "requests", "failed", "writes", "refused", "unknown", "left", "told after", "refused for", "acked lost", "refused done",
	"counters", "stalled", "took", "result",
}

// print writes the table for people.
func (t *table) print(out io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...any) {
		text := make([]string, len(cells))
		for i, c := range cells {
			text[i] = fmt.Sprint(c)
		}
		_, _ = fmt.Fprintln(w, strings.Join(text, "\t"))
	}
	_, _ = fmt.Fprintln(out)
	_, _ = fmt.Fprintln(w, strings.Join(heads, "\t"))
	for _, r := range t.rows {
		line(r.fault, r.sent, r.failed, r.acked, r.refused, r.unknown, r.late, seconds(r.slowest), seconds(r.refusedFor), r.lost, r.applied,
			r.counters, seconds(r.stalled), seconds(r.took), r.result)
	}
	_ = w.Flush()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

package node

import (
	"fmt"
	"sort"
	"sync"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxLines is how many lines of instances a node remembers for its streams. Of
// more, some are forgotten at once, down to keptLines.
const (
	maxLines  = 2000
	keptLines = maxLines * 3 / 4
)

// lines are the last that instances logged. Its zero value is empty. It is safe
// for concurrent use.
type lines struct {
	mu    sync.Mutex
	last  []*signalboxv1.LogLine // in order of their places; at most maxLines
	count int                    // of all there ever were
}

// add takes a line; it never waits.
func (l *lines) add(line *signalboxv1.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == maxLines {
		l.forget()
	}
	l.count++
	placed := proto.CloneOf(line) // the line itself is others' too
	placed.Place = int64(l.count)
	l.last = append(l.last, placed)
}

// forget makes room. It takes the oldest lines of the instances that have most,
// so that one that says much does not drive out what the others said. l.mu is
// held.
func (l *lines) forget() {
	each := map[string]int{}
	for _, line := range l.last {
		each[line.GetInstance()]++
	}
	// The greatest share that all can have.
	share := max(1, sort.Search(maxLines, func(n int) bool {
		sum := 0
		for _, has := range each {
			sum += min(has, n+1)
		}
		return sum > keptLines
	}))
	kept := make([]*signalboxv1.LogLine, 0, maxLines)
	for _, line := range l.last {
		if has := each[line.GetInstance()]; has <= share {
			kept = append(kept, line)
		} else {
			each[line.GetInstance()]--
		}
	}
	l.last = kept[max(0, len(kept)-keptLines):] // with a line each they may be too many still
}

// A lineReader reads them for one stream, from the oldest that is remembered:
// control planes leave out what they have.
type lineReader struct {
	from *lines
	read int // the place up to which it has read
	// before is how many lines were forgotten before it was there: it does not
	// miss those.
	before int
}

func (l *lines) reader() *lineReader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &lineReader{from: l, before: l.count - len(l.last)}
}

// next returns the lines since the last call. The first says so when others
// before it are forgotten already.
func (r *lineReader) next() []*signalboxv1.LogLine {
	r.from.mu.Lock()
	defer r.from.mu.Unlock()
	last := r.from.last
	news := last[sort.Search(len(last), func(i int) bool { return last[i].GetPlace() > int64(r.read) }):]
	if len(news) == 0 {
		return nil
	}
	missed := r.from.count - r.read - r.before - len(news)
	r.read, r.before = r.from.count, 0
	told := append([]*signalboxv1.LogLine(nil), news...)
	if missed > 0 {
		first := proto.CloneOf(told[0])
		first.Text += fmt.Sprintf(" (%d lines of this node's instances before this one are lost)", missed)
		told[0] = first
	}
	return told
}

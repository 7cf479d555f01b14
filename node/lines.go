package node

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxLines is how many lines of instances a node remembers for its streams.
const maxLines = 2000

// lines are the last that instances logged. Its zero value is empty. It is safe
// for concurrent use.
type lines struct {
	mu    sync.Mutex
	last  []*signalboxv1.LogLine // at most maxLines
	count int                    // of all there ever were
}

// add takes a line; it never waits.
func (l *lines) add(line *signalboxv1.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == maxLines {
		l.last = append(l.last[:0:0], l.last[maxLines/4:]...)
	}
	l.count++
	placed := proto.CloneOf(line) // the line itself is others' too
	placed.Place = int64(l.count)
	l.last = append(l.last, placed)
}

// A lineReader reads them for one stream, from the oldest that is remembered:
// control planes leave out what they have.
type lineReader struct {
	from *lines
	read int
}

func (l *lines) reader() *lineReader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &lineReader{from: l, read: l.count - len(l.last)}
}

// next returns the lines since the last call. The first says so when others
// before it are forgotten already.
func (r *lineReader) next() []*signalboxv1.LogLine {
	r.from.mu.Lock()
	defer r.from.mu.Unlock()
	oldest := r.from.count - len(r.from.last)
	missed := max(0, oldest-r.read)
	news := r.from.last[max(0, r.read-oldest):]
	r.read = r.from.count
	if len(news) == 0 {
		return nil
	}
	told := append([]*signalboxv1.LogLine(nil), news...)
	if missed > 0 {
		first := proto.CloneOf(told[0])
		first.Text += fmt.Sprintf(" (%d lines of this node's instances before this one are lost)", missed)
		told[0] = first
	}
	return told
}

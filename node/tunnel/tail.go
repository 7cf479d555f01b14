package tunnel

import (
	"sync"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxTail bounds how many lines of an instance a node remembers.
const maxTail = 200

// A tail is the last lines of an instance, over all its runs.
type tail struct {
	mu   sync.Mutex
	last []*signalboxv1.LogLine
}

// add keeps a line.
func (t *tail) add(line *signalboxv1.LogLine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == maxTail {
		t.last = append(t.last[:0:0], t.last[maxTail/4:]...)
	}
	t.last = append(t.last, line)
}

// lines are those kept, the oldest first.
func (t *tail) lines() []*signalboxv1.LogLine {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*signalboxv1.LogLine(nil), t.last...)
}

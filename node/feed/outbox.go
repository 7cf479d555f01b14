package feed

import (
	"slices"
	"sync"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// An outbox is what is still to be sent on one stream. It holds state and not
// a queue: whoever puts something in never waits, and a stream that takes
// nothing for a while then takes the newest of everything.
type outbox struct {
	// wake has an element when there may be something to take.
	wake chan struct{}

	mu   sync.Mutex // guards next
	next mail
}

// mail is what an outbox holds: all of it optional, to be sent in the order of
// the fields.
type mail struct {
	hello *signalboxv1.Hello
	// ack names the version served now, and the rejections and acceptances
	// that were not yet told on this stream.
	ack  *signalboxv1.Ack
	feed *signalboxv1.Feed
	// interval, when not zero, says how often to report from now on.
	interval time.Duration
	// report asks for a report at once: whether the node is ready has changed.
	report bool
	// goodbye is the last that is sent.
	goodbye *signalboxv1.Goodbye
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put changes what is to be sent.
func (o *outbox) put(change func(*mail)) {
	o.mu.Lock()
	change(&o.next)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take empties the outbox.
func (o *outbox) take() mail {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.next
	o.next = mail{}
	return m
}

// acknowledge puts an Ack in place of one that was not taken yet. Rejections
// of that one are kept unless they are void by now; what it accepted may have
// been refused again, which is then among the rejections, and those are read
// last.
func (o *outbox) acknowledge(ack *signalboxv1.Ack, stands func(*signalboxv1.Rejection) bool) {
	o.put(func(m *mail) {
		for _, rej := range m.ack.GetRejections() {
			if stands(rej) {
				ack.Rejections = append(ack.Rejections[:len(ack.Rejections):len(ack.Rejections)], rej)
			}
		}
		if before := m.ack.GetAccepted(); len(before) > 0 {
			ack.Accepted = slices.Concat(before, ack.Accepted)
		}
		m.ack = ack
	})
}

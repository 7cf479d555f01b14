package account

import (
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// resolution is how exact the last activity is.
const resolution = int64(time.Second)

// An Instance is one instance on this node. It is safe for concurrent use.
type Instance struct {
	book *Book
	name string
	// current is what is counted into.
	current atomic.Pointer[counters]
	// open is how much runs now, by link.Kind.
	open [2]atomic.Int64

	// The book's lock guards these.
	run *signalboxv1.InstanceRun // nil while it does not run
	all []*counters              // of every incarnation that is remembered
}

// counters is what one incarnation carried since the node process started.
type counters struct {
	instance    *Instance
	incarnation int64
	// received and sent are bytes, by link.Kind.
	received, sent [2]atomic.Uint64
	active         atomic.Int64 // nanoseconds since 1970; 0 is never

	// noted says that the book knows of a change it has not looked at. It is
	// read after counting and cleared before reading, so that no count is left
	// behind.
	noted atomic.Bool
	at    uint64 // the place in the book's order of changes; the book's lock guards it
}

// Received counts bytes that came from the side that is not the tunnel's.
func (i *Instance) Received(k link.Kind, n int) {
	c := i.current.Load()
	c.received[k].Add(uint64(n))
	c.moved(time.Now())
}

// Sent counts bytes that were sent to the side that is not the tunnel's.
func (i *Instance) Sent(k link.Kind, n int) {
	c := i.current.Load()
	c.sent[k].Add(uint64(n))
	c.moved(time.Now())
}

// Opened counts a connection or session that runs from now on.
func (i *Instance) Opened(k link.Kind) {
	i.open[k].Add(1)
	i.current.Load().note()
}

// Closed counts the end of one.
func (i *Instance) Closed(k link.Kind) {
	i.open[k].Add(-1)
	i.current.Load().note()
}

// Open is how many connections and sessions run now.
func (i *Instance) Open() int64 { return i.open[link.TCP].Load() + i.open[link.UDP].Load() }

// SetIncarnation makes what is carried from now on count into another
// incarnation; what runs goes on.
func (i *Instance) SetIncarnation(n int64) {
	i.book.mu.Lock()
	defer i.book.mu.Unlock()
	if i.current.Load().incarnation != n {
		i.enter(n)
		i.book.changed(i.current.Load())
	}
}

// enter counts into an incarnation. The book's lock is held.
func (i *Instance) enter(n int64) {
	for _, c := range i.all {
		if c.incarnation == n {
			i.current.Store(c)
			return
		}
	}
	c := &counters{instance: i, incarnation: n}
	i.all = append(i.all, c)
	i.current.Store(c)
}

// Update changes how the instance stands. What change is given must not be
// kept; its connections are counted by Opened and Closed. It does nothing
// after End.
func (i *Instance) Update(change func(*signalboxv1.InstanceRun)) {
	i.book.mu.Lock()
	defer i.book.mu.Unlock()
	if i.run == nil {
		return
	}
	before := proto.CloneOf(i.run)
	change(i.run)
	if !proto.Equal(before, i.run) {
		i.book.changed(i.current.Load())
	}
}

// End says that the instance does not run here any more.
func (i *Instance) End() {
	i.book.mu.Lock()
	defer i.book.mu.Unlock()
	if i.run == nil {
		return
	}
	i.run = nil
	i.book.ended = append(i.book.ended, i)
	i.book.changed(i.current.Load())
}

// moved notes that bytes did.
func (c *counters) moved(now time.Time) {
	ns := now.UnixNano()
	if old := c.active.Load(); ns-old >= resolution {
		c.active.CompareAndSwap(old, ns) // a loser lost to somebody as late
	}
	c.note()
}

// note makes sure that the book will look at c.
func (c *counters) note() {
	if !c.noted.Load() && c.noted.CompareAndSwap(false, true) {
		c.instance.book.note(c)
	}
}

// report returns the present counts, and how the instance stands. Of an
// earlier incarnation it says the same, since who hears it last must not take
// the instance for ended. The book's lock is held.
func (c *counters) report() *signalboxv1.InstanceReport {
	r := &signalboxv1.InstanceReport{
		Instance:    c.instance.name,
		Incarnation: c.incarnation,
		Counters: &signalboxv1.InstanceCounters{
			TcpReceived: c.received[link.TCP].Load(),
			TcpSent:     c.sent[link.TCP].Load(),
			UdpReceived: c.received[link.UDP].Load(),
			UdpSent:     c.sent[link.UDP].Load(),
		},
	}
	if ns := c.active.Load(); ns != 0 {
		r.LastActivity = timestamppb.New(time.Unix(0, ns))
	}
	if run := c.instance.run; run != nil {
		r.Run = proto.CloneOf(run)
		r.Run.TcpConnections = int32(max(c.instance.open[link.TCP].Load(), 0))
		r.Run.UdpSessions = int32(max(c.instance.open[link.UDP].Load(), 0))
	}
	return r
}

package tally

import (
	"time"

	"signalbox/controlplane/tally/checkpoint"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Totals is what all nodes together carried of one route or tunnel instance.
type Totals struct {
	counts checkpoint.Counts
	open   uint64
}

// OpenStreams is the number of exchanges and upgraded connections running now
// on nodes that are present.
func (t Totals) OpenStreams() uint64 { return t.open }

// LastActivity is the newest moment at which a byte moved, by the clock of the
// node that moved it; the zero time when none ever did.
func (t Totals) LastActivity() time.Time {
	if last := t.counts.Activity(); last != nil {
		return last.AsTime()
	}
	return time.Time{}
}

// Counters of an instance.
func (t Totals) Counters() *signalboxv1.InstanceCounters { return t.counts.InstanceCounters() }

// Observed returns a route's totals as they are answered to clients.
func (t Totals) Observed() *signalboxv1.RouteObserved {
	return &signalboxv1.RouteObserved{
		Counters:     t.counts.Counters(),
		OpenStreams:  t.open,
		LastActivity: t.counts.Activity(),
	}
}

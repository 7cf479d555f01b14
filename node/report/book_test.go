package report_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names are the routes of reports, in their order.
func names(reports []*signalboxv1.RouteReport) string {
	out := ""
	for _, r := range reports {
		out += fmt.Sprintf("%s@%d ", r.Route, r.CreatedRevision)
	}
	return out
}

func TestAReaderIsToldEverythingOnceAndThenWhatChanged(t *testing.T) {
	b := report.New()
	first, second := b.Route("first", 1), b.Route("second", 2)
	b.Route("idle", 3)
	r := b.Reader()
	defer r.Close()
	first.Begin()
	second.Begin()
	if got := names(r.Changed()); got != "first@1 second@2 " {
		t.Errorf("told of %q", got)
	}
	if got := r.Changed(); got != nil {
		t.Errorf("told of %q, though nothing changed", names(got))
	}
	first.Sent(10)
	first.Sent(5)
	got := r.Changed()
	if names(got) != "first@1 " || got[0].Counters.BytesSent != 15 || got[0].OpenStreams != 1 {
		t.Errorf("told of %v", got)
	}
	late := b.Reader()
	defer late.Close()
	if got := names(late.Changed()); got != "second@2 first@1 " {
		t.Errorf("a later reader is told of %q", got)
	}
}

func TestCountersSayWhatWasCarried(t *testing.T) {
	b := report.New()
	r := b.Reader()
	defer r.Close()
	c := b.Route("a", 7)
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, code := range []int{101, 200, 204, 304, 404, 503, 799, 0} {
		c.Begin()
		c.Status(code)
		c.End()
	}
	c.Fail()
	c.Received(3)
	c.Touch(at)
	got := r.Changed()[0]
	want := &signalboxv1.RouteCounters{Requests: 8, BytesReceived: 3, Statuses: []uint64{1, 2, 1, 1, 1}, NodeFailures: 1}
	if got.Counters.String() != want.String() || got.OpenStreams != 0 || !got.LastActivity.AsTime().Equal(at) {
		t.Errorf("got %v", got)
	}
}

func TestTheLastActivityIsTheNewestMoment(t *testing.T) {
	b := report.New()
	r := b.Reader()
	defer r.Close()
	c := b.Route("a", 7)
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, after := range []time.Duration{0, time.Millisecond, 999 * time.Millisecond} {
		c.Touch(at.Add(after))
		c.Touch(at) // by somebody who looked at the clock before
		got := r.Changed()
		if len(got) != 1 || !got[0].LastActivity.AsTime().Equal(at.Add(after)) {
			t.Errorf("after %v: told of %v", after, got)
		}
	}
	c.Touch(at)
	if got := r.Changed(); got != nil {
		t.Errorf("told of %v, though nothing is newer", got)
	}
}

func TestOfManyMomentsAtOnceTheNewestStays(t *testing.T) {
	b := report.New()
	r := b.Reader()
	defer r.Close()
	c := b.Route("a", 7)
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	const each, writers = 10_000, 4
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				c.Touch(at.Add(time.Duration(i*writers + w)))
			}
		})
	}
	wg.Wait()
	if got := r.Changed()[0].LastActivity.AsTime().Sub(at); got != each*writers-1 {
		t.Errorf("active at %d", got)
	}
}

func TestAnIncarnationKeepsItsCounts(t *testing.T) {
	b := report.New()
	first := b.Route("a", 1)
	if first != b.Route("a", 1) {
		t.Error("a route that was written again counts from zero")
	}
	if first == b.Route("a", 2) {
		t.Error("a route that was made anew has the counts of the one before")
	}
}

func TestARemovedRouteIsForgottenWhenItsStreamsEndedAndAllWereTold(t *testing.T) {
	b := report.New()
	one, two := b.Reader(), b.Reader()
	defer one.Close()
	defer two.Close()
	c := b.Route("a", 1)
	c.Begin()
	b.Remove(c)
	one.Changed()
	two.Changed()
	c.Sent(5)
	c.End()
	if got := one.Changed(); len(got) != 1 || got[0].Counters.BytesSent != 5 {
		t.Errorf("the first reader is told %v", got)
	}
	if b.Route("a", 1) != c {
		t.Fatal("forgotten, though the second reader does not know")
	}
	b.Remove(c)
	if got := two.Changed(); len(got) != 1 || got[0].Counters.BytesSent != 5 {
		t.Errorf("the second reader is told %v", got)
	}
	if b.Route("a", 1) == c {
		t.Error("it is never forgotten")
	}
}

func TestNothingIsLostBetweenCountingAndReading(t *testing.T) {
	b := report.New()
	r := b.Reader()
	defer r.Close()
	const each, writers = 10_000, 4
	c := b.Route("a", 1)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				c.Begin()
				c.Status(200)
				c.End()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var last *signalboxv1.RouteReport
	for finished := false; !finished; {
		select {
		case <-done:
			finished = true
		default:
		}
		for _, got := range r.Changed() {
			if got.Counters.Requests < last.GetCounters().GetRequests() {
				t.Fatalf("requests went from %d to %d", last.Counters.Requests, got.Counters.Requests)
			}
			last = got
		}
	}
	if last.Counters.Requests != each*writers || last.OpenStreams != 0 || last.Counters.Statuses[1] != each*writers {
		t.Errorf("the last word is %v", last)
	}
}

func BenchmarkCount(b *testing.B) {
	book := report.New()
	c := book.Route("a", 1)
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Begin()
			c.Status(200)
			c.Sent(1024)
			c.Touch(now)
			c.End()
		}
	})
}

func BenchmarkChanged(b *testing.B) {
	book := report.New()
	all := make([]*report.Counters, 100_000)
	for i := range all {
		all[i] = book.Route(fmt.Sprint(i), 1)
		all[i].Begin()
	}
	r := book.Reader()
	defer r.Close()
	r.Changed()
	b.ReportAllocs()
	for b.Loop() {
		for i := range 100 {
			all[i*997].Sent(1)
		}
		if n := len(r.Changed()); n != 100 {
			b.Fatal(n)
		}
	}
}

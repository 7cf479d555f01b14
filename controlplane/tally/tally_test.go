package tally

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/tally/checkpoint"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heard is a report of one route that carried some requests.
func heard(route string, created int64, requests uint64) *signalboxv1.RouteReport {
	return &signalboxv1.RouteReport{
		Route: route, CreatedRevision: created,
		Counters: &signalboxv1.RouteCounters{Requests: requests, Statuses: []uint64{0, requests}},
	}
}

// say reports one route.
func say(b *Book, node string, epoch int64, r *signalboxv1.RouteReport) {
	b.Report(node, epoch, []*signalboxv1.RouteReport{r})
}

func requestsOf(b *Book, route string, created int64) uint64 {
	return b.Totals(route, created).Observed().GetCounters().GetRequests()
}

func wantRequests(t *testing.T, b *Book, route string, created int64, want uint64) {
	t.Helper()
	if got := requestsOf(b, route, created); got != want {
		t.Errorf("route %s created at %d carried %d requests, want %d", route, created, got, want)
	}
}

func TestTotalsAreSumsOverProcesses(t *testing.T) {
	b := New(Config{})
	at := timestamppb.New(time.Unix(1_800_000_000, 5))
	report := func(factor uint64, last *timestamppb.Timestamp) *signalboxv1.RouteReport {
		return &signalboxv1.RouteReport{
			Route: "a", CreatedRevision: 7, LastActivity: last,
			Counters: &signalboxv1.RouteCounters{
				Requests: factor, BytesReceived: 2 * factor, BytesSent: 3 * factor,
				Statuses: []uint64{factor, 5 * factor, 6 * factor, 7 * factor, 8 * factor}, NodeFailures: 9 * factor,
			},
		}
	}
	say(b, "one", 1, report(1, nil))
	say(b, "one", 2, report(10, at))
	say(b, "two", 1, report(100, timestamppb.New(time.Unix(1_700_000_000, 0))))
	want := &signalboxv1.RouteObserved{
		Counters: &signalboxv1.RouteCounters{
			Requests: 111, BytesReceived: 222, BytesSent: 333,
			Statuses: []uint64{111, 555, 666, 777, 888}, NodeFailures: 999,
		},
		LastActivity: at,
	}
	if got := b.Totals("a", 7).Observed(); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := b.Totals("a", 7).LastActivity(); !got.Equal(at.AsTime()) {
		t.Errorf("last activity is %v", got)
	}
}

func TestAReportHeardTwiceOrLateChangesNothing(t *testing.T) {
	b := New(Config{})
	say(b, "one", 1, heard("a", 7, 5))
	say(b, "one", 1, heard("a", 7, 9))
	say(b, "one", 1, heard("a", 7, 5))
	say(b, "one", 1, heard("a", 7, 9))
	wantRequests(t, b, "a", 7, 9)
}

func TestARouteWrittenAnewStartsFromZero(t *testing.T) {
	b := New(Config{})
	say(b, "one", 1, heard("a", 7, 5))
	wantRequests(t, b, "a", 8, 0)
	say(b, "one", 1, heard("a", 8, 1))
	say(b, "one", 1, heard("a", 7, 6))
	wantRequests(t, b, "a", 8, 1)
}

func TestReportsThatMakeNoSenseAreLeftOut(t *testing.T) {
	b := New(Config{})
	b.Report("one", 1, []*signalboxv1.RouteReport{
		nil, {}, {Route: "a"}, {Route: "a", CreatedRevision: -1}, {CreatedRevision: 1},
		{Route: string(make([]byte, checkpoint.MaxRouteName+1)), CreatedRevision: 1},
		{Route: "b", CreatedRevision: 1, LastActivity: &timestamppb.Timestamp{Seconds: 1 << 62, Nanos: -1},
			Counters: &signalboxv1.RouteCounters{Statuses: make([]uint64, 1000)}},
	})
	if got := b.Totals("b", 1); got != (Totals{}) || !got.LastActivity().IsZero() {
		t.Errorf("got %v", got)
	}
	if n := len(b.queue.refs); n != 0 {
		t.Errorf("%d chunks would be written", n)
	}
}

func open(route string, streams uint64) *signalboxv1.RouteReport {
	return &signalboxv1.RouteReport{Route: route, CreatedRevision: 1, OpenStreams: streams}
}

func TestOpenStreamsCountWhileTheProcessIsPresent(t *testing.T) {
	b := New(Config{})
	want := func(when string, streams uint64) {
		t.Helper()
		if got := b.Totals("a", 1).OpenStreams(); got != streams {
			t.Errorf("%s: %d streams are open, want %d", when, got, streams)
		}
	}
	b.Joined("one", 1)
	say(b, "one", 1, open("a", 3))
	b.Joined("two", 1)
	say(b, "two", 1, open("a", 4))
	want("two nodes", 7)
	say(b, "one", 1, open("a", 1))
	want("some ended", 5)
	b.Left("two", 1)
	want("a node left", 1)
	say(b, "two", 1, open("a", 40))
	want("a report came late", 1)
	b.Joined("two", 1)
	want("the node is back", 41)
	b.Joined("two", 1)
	b.Left("two", 1)
	want("the older of two streams ended", 41)
	b.Left("two", 1)
	b.Left("two", 1)
	b.Joined("two", 1)
	want("more left than joined", 41)
}

func TestAnUnchangedReportAllocatesNothingAndWritesNothing(t *testing.T) {
	b := New(Config{})
	b.Joined("one", 1)
	report := []*signalboxv1.RouteReport{heard("a", 7, 5), open("b", 2)}
	b.Report("one", 1, report)
	b.queue.take()
	b.buckets[checkpoint.Subject("a").Bucket()].chunks[0].queued = false
	if n := testing.AllocsPerRun(100, func() { b.Report("one", 1, report) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { b.Totals("a", 7) }); n != 0 {
		t.Errorf("%v allocations to ask", n)
	}
	if n := len(b.queue.refs); n != 0 {
		t.Errorf("%d chunks would be written", n)
	}
}

func TestARemovedRouteIsForgottenAndALateReportDoesNotBringItBack(t *testing.T) {
	removed := map[int64]bool{}
	b := New(Config{Exists: func(_ checkpoint.Subject, created int64) bool { return !removed[created] }})
	say(b, "one", 1, heard("a", 7, 5))
	removed[7] = true
	b.Prune()
	wantRequests(t, b, "a", 7, 0)
	say(b, "one", 1, heard("a", 7, 6))
	wantRequests(t, b, "a", 7, 0)
	say(b, "one", 1, heard("a", 8, 1))
	wantRequests(t, b, "a", 8, 1)
	if n := len(b.buckets[checkpoint.Subject("a").Bucket()].subjects); n != 1 {
		t.Errorf("%d routes are remembered", n)
	}
}

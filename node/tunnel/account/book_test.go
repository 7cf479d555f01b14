package account_test

import (
	"sync"
	"testing"

	"signalbox/node/tunnel/account"
	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestAReaderIsToldEverythingAndThenWhatChanged(t *testing.T) {
	b := account.New()
	one, two := b.Begin("one", 7, 1), b.Begin("two", 8, 0)
	r := b.Reader()
	defer r.Close()
	if got := r.Changed(); len(got) != 2 || got[0].GetRun().GetStarts() != 1 {
		t.Fatalf("at first: %v", got)
	}
	if got := r.Changed(); got != nil {
		t.Fatalf("nothing changed: %v", got)
	}
	one.Received(link.TCP, 10)
	one.Sent(link.UDP, 4)
	one.Opened(link.TCP)
	got := r.Changed()
	if len(got) != 1 || got[0].GetCounters().GetTcpReceived() != 10 || got[0].GetCounters().GetUdpSent() != 4 ||
		got[0].GetRun().GetTcpConnections() != 1 || got[0].GetLastActivity() == nil {
		t.Fatalf("after counting: %v", got)
	}
	two.Update(func(run *signalboxv1.InstanceRun) { run.State = signalboxv1.InstanceState_INSTANCE_STATE_RUNNING })
	two.Update(func(run *signalboxv1.InstanceRun) { run.State = signalboxv1.InstanceState_INSTANCE_STATE_RUNNING })
	if got := r.Changed(); len(got) != 1 || got[0].GetRun().GetState() != signalboxv1.InstanceState_INSTANCE_STATE_RUNNING {
		t.Fatalf("after a change of state: %v", got)
	}
}

func TestAnInstanceThatEndedIsToldOnceAndCountsOnWhenItComesBack(t *testing.T) {
	b := account.New()
	one := b.Begin("one", 7, 1)
	r := b.Reader()
	defer r.Close()
	one.Received(link.TCP, 10)
	one.End()
	one.End()
	if got := r.Changed(); len(got) != 1 || got[0].GetRun() != nil || got[0].GetCounters().GetTcpReceived() != 10 {
		t.Fatalf("ended: %v", got)
	}
	if got := r.Changed(); got != nil {
		t.Fatalf("told again: %v", got)
	}
	b.Begin("one", 7, 2).Received(link.TCP, 5)
	if got := r.Changed(); len(got) != 1 || got[0].GetRun().GetStarts() != 2 || got[0].GetCounters().GetTcpReceived() != 15 {
		t.Fatalf("back: %v", got)
	}
}

func TestAResetCountsFromZeroAndTheOldIncarnationIsToldToo(t *testing.T) {
	b := account.New()
	one := b.Begin("one", 7, 0)
	r := b.Reader()
	defer r.Close()
	r.Changed()
	one.Received(link.TCP, 10)
	one.SetIncarnation(8)
	one.Received(link.TCP, 3)
	got := r.Changed()
	if len(got) != 2 {
		t.Fatalf("after a reset: %v", got)
	}
	for _, report := range got {
		want := map[int64]uint64{7: 10, 8: 3}[report.GetIncarnation()]
		if report.GetCounters().GetTcpReceived() != want || report.GetRun() == nil {
			t.Errorf("incarnation %d: %v", report.GetIncarnation(), report)
		}
	}
	if late := b.Reader(); len(late.Changed()) != 1 {
		t.Error("an incarnation that all were told of is remembered")
	}
}

// However readers and resets come in between, nothing is lost and nothing is
// told twice.
func TestCountsAreExactUnderConcurrentReadersAndResets(t *testing.T) {
	b := account.New()
	one := b.Begin("one", 1, 0)
	const counters, each = 4, 2000
	var wg sync.WaitGroup
	for range counters {
		wg.Go(func() {
			for range each {
				one.Received(link.TCP, 1)
			}
		})
	}
	r := b.Reader()
	defer r.Close()
	known := map[int64]uint64{}
	take := func() {
		for _, report := range r.Changed() {
			n := report.GetCounters().GetTcpReceived()
			if n < known[report.GetIncarnation()] {
				t.Errorf("incarnation %d shrank", report.GetIncarnation())
			}
			known[report.GetIncarnation()] = n
		}
	}
	for n := range int64(50) {
		one.SetIncarnation(n + 1)
		take()
	}
	wg.Wait()
	take()
	var sum uint64
	for _, n := range known {
		sum += n
	}
	if sum != counters*each {
		t.Errorf("told of %d bytes, %d were counted", sum, counters*each)
	}
}

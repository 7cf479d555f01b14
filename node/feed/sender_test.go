package feed

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestClientReportsWhatItCarried(t *testing.T) {
	p := newPlane(t, "cp1")
	r := newRig(t, p.serve())
	r.carried.carry("a", 1)
	r.carried.carry("b", 1)
	r.start()
	s := p.session()
	names := func(r *signalboxv1.Report) string {
		var all []string
		for _, route := range r.GetRoutes() {
			all = append(all, fmt.Sprintf("%s:%d", route.GetRoute(), route.GetCounters().GetRequests()))
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	any := func(*signalboxv1.Report) bool { return true }
	if got := names(s.report("the first report", any)); got != "a:1 b:1" {
		t.Errorf("the first report has %q, want everything", got)
	}
	r.carried.carry("b", 2)
	if got := names(s.report("the second report", any)); got != "b:2" {
		t.Errorf("the second report has %q, want what changed", got)
	}
	if got := s.report("a sign of life", any); len(got.GetRoutes()) != 0 || got.GetReady() {
		t.Errorf("an idle node reports %v", got)
	}
	s.feed()
	s.update(part(nil, at("e", 5), 1, 1, "+a@1"))
	s.ack(at("e", 5))
	t.Run("that it drains is said at once, and in every Ack", func(t *testing.T) {
		s.kept = nil
		r.client.Drain(true)
		s.report("not ready", func(r *signalboxv1.Report) bool { return !r.GetReady() })
		if st := r.client.Status(); st.Ready || st.Reason != "draining" {
			t.Errorf("the status is %+v", st)
		}
		s.update(part(at("e", 5), at("e", 6), 1, 1))
		if s.ack(at("e", 6)).GetReady() {
			t.Error("the Ack says ready")
		}
		s.kept = nil
		r.client.Drain(false)
		s.report("ready", func(r *signalboxv1.Report) bool { return r.GetReady() })
	})
	t.Run("instances are told of, and what they log", func(t *testing.T) {
		r.carried.mu.Lock()
		r.carried.instances = append(r.carried.instances, &signalboxv1.InstanceReport{Instance: "i", Incarnation: 3})
		r.carried.lines = append(r.carried.lines, &signalboxv1.LogLine{Instance: "i", Text: "listening"})
		r.carried.mu.Unlock()
		lines := await(s, "log lines", (*signalboxv1.ConnectRequest).GetLogLines)
		if got := lines.GetLines(); len(got) != 1 || got[0].GetText() != "listening" {
			t.Errorf("the lines are %v", got)
		}
		s.report("the instance", func(r *signalboxv1.Report) bool {
			return len(r.GetInstances()) == 1 && r.GetInstances()[0].GetIncarnation() == 3
		})
	})
	t.Run("a new stream is told everything again", func(t *testing.T) {
		s.end(nil)
		s = p.session()
		if got := names(s.report("the first report", any)); got != "a:1 b:2" {
			t.Errorf("the first report has %q", got)
		}
	})
	t.Run("goodbye comes last, after all that was carried", func(t *testing.T) {
		r.carried.carry("c", 9)
		r.stop(fmt.Errorf("for the night"))
		var last *signalboxv1.Report
		bye := await(s, "Goodbye", func(m *signalboxv1.ConnectRequest) *signalboxv1.Goodbye {
			if rep := m.GetReport(); rep != nil && len(rep.GetRoutes()) > 0 {
				last = rep
			}
			return m.GetGoodbye()
		})
		if bye.GetReason() != "for the night" {
			t.Errorf("the reason is %q", bye.GetReason())
		}
		if got := names(last); !strings.Contains(got, "c:9") {
			t.Errorf("the last report has %q, want c", got)
		}
		if err := wait(t, r.ended, "the end"); err != nil {
			t.Errorf("Run returned %v", err)
		}
		r.carried.mu.Lock()
		defer r.carried.mu.Unlock()
		if r.carried.open != 0 {
			t.Errorf("%d readers of reports are still open", r.carried.open)
		}
	})
}

// A full report of a large table, or the refusals of one, must not be larger
// than a control plane takes.
func TestLargeListsAreSplit(t *testing.T) {
	p := newPlane(t, "cp1")
	r := newRig(t, p.serve())
	const routes = 10_000
	for i := range routes {
		r.carried.carry(fmt.Sprintf("%0200d", i), 1)
	}
	r.start()
	s := p.session()
	seen := map[string]bool{}
	for len(seen) < routes {
		rep := s.report("a report", func(r *signalboxv1.Report) bool { return len(r.GetRoutes()) > 0 })
		if size := proto.Size(rep); size > maxMessage+1000 {
			t.Fatalf("a report has %d bytes", size)
		}
		for _, route := range rep.GetRoutes() {
			seen[route.GetRoute()] = true
		}
	}

	s.feed()
	var refused []string
	for i := range 10_000 {
		refused = append(refused, fmt.Sprintf("+%0200d@7", i))
	}
	s.update(part(nil, at("e", 7), 1, 2, refused[:5000]...))
	s.update(part(nil, at("e", 7), 2, 2, refused[5000:]...))
	for count := 0; count < len(refused); {
		count += len(s.ack(at("e", 7)).GetRejections())
	}
	s.end(nil)
	s = p.session()
	count := len(s.hello.GetRejections())
	if size := proto.Size(s.hello); size > maxMessage+1000 {
		t.Errorf("Hello has %d bytes", size)
	}
	for count < len(refused) {
		count += len(s.ack(at("e", 7)).GetRejections())
	}
}

func TestAnAckThatWaitsTakesUpOlderRejections(t *testing.T) {
	o := newOutbox()
	r := refusals{}
	var accepted []*signalboxv1.RecordKey
	ack := func(rev int64, c *Change, refused ...*signalboxv1.Rejection) {
		r.applied(c, Outcome{Refused: refused, Accepted: accepted})
		o.acknowledge(&signalboxv1.Ack{Version: at("e", rev), Rejections: refused, Accepted: accepted}, r.stands)
	}
	ack(1, change("+a@1", "+b@1", "+c@1"), refusal("a", 1), refusal("b", 1), refusal("c", 1))
	ack(2, change("+b@2"), refusal("b", 2))
	ack(3, change("-c"))
	m := o.take()
	got := ""
	for _, rej := range m.ack.GetRejections() {
		got += fmt.Sprintf("%s@%d ", rej.GetName(), rej.GetRevision())
	}
	if m.ack.GetVersion().GetRevision() != 3 || got != "b@2 a@1 " {
		t.Errorf("the Ack is of %d and has %q", m.ack.GetVersion().GetRevision(), got)
	}
	if o.take().ack != nil {
		t.Error("it is there twice")
	}
	ack(4, change("+d@4"), refusal("d", 4))
	accepted = change("-a", "-d").Removals
	ack(5, change())
	accepted = change("-b").Removals
	ack(6, change(), refusal("a", 1))
	m = o.take()
	if rej, acc := m.ack.GetRejections(), m.ack.GetAccepted(); len(rej) != 1 || rej[0].GetName() != "a" || len(acc) != 3 {
		t.Errorf("the Ack accepts %v and rejects %v, want a, d, b and then a", acc, rej)
	}
}

func TestSplit(t *testing.T) {
	big := &signalboxv1.Rejection{Reason: strings.Repeat("x", maxMessage)}
	for name, list := range map[string][]*signalboxv1.Rejection{
		"nothing": nil, "one that is too large": {big}, "two of them": {big, big},
	} {
		t.Run(name, func(t *testing.T) {
			count, rest := 0, list
			for range 5 {
				var first []*signalboxv1.Rejection
				first, rest = split(rest)
				count += len(first)
			}
			if count != len(list) {
				t.Errorf("%d of %d came out", count, len(list))
			}
		})
	}
}

func TestJitterIsBetweenHalfAndAll(t *testing.T) {
	for range 1000 {
		if d := jitter(time.Second); d < time.Second/2 || d > time.Second {
			t.Fatalf("jitter is %v", d)
		}
	}
}

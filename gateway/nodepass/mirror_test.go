package nodepass

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/gateway/gatewaytest"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// history is what a control plane keeps and tells, and panel what a follower
// makes of it.
type history struct {
	revision int64
	now      map[string]*signalboxv1.Instance
	panel    map[string]instance
}

// change does one thing at random, and returns its event.
func (h *history) change(rnd *rand.Rand) *signalboxv1.Event {
	name := fmt.Sprintf("i%d", rnd.IntN(5))
	i := proto.CloneOf(h.now[name])
	h.revision++
	e := &signalboxv1.Event{
		Id: fmt.Sprintf("e.%d.0", h.revision), Kind: signalboxv1.Kind_KIND_INSTANCE, Name: name,
		Version: &signalboxv1.Version{Epoch: "e", Revision: h.revision},
	}
	switch what := rnd.IntN(4); {
	case i == nil:
		i = &signalboxv1.Instance{Name: name, Url: oneURL, Meta: &signalboxv1.Meta{Revision: h.revision, CreatedRevision: h.revision}}
		e.Type = signalboxv1.EventType_EVENT_TYPE_CREATED
	case what == 0:
		delete(h.now, name)
		e.Type = signalboxv1.EventType_EVENT_TYPE_REMOVED
		return e
	case what == 1:
		i.Observed = &signalboxv1.InstanceObserved{
			State:    signalboxv1.InstanceState(1 + rnd.IntN(4)),
			Counters: &signalboxv1.InstanceCounters{TcpSent: i.GetObserved().GetCounters().GetTcpSent() + rnd.Uint64N(3)},
		}
		e.Type = signalboxv1.EventType_EVENT_TYPE_OBSERVED
	default:
		i.Alias = strconv.Itoa(rnd.IntN(3))
		if what == 2 && i.Observed != nil {
			i.Resets++
			i.Observed.Counters = nil
		}
		i.Meta.Revision = h.revision
		e.Type = signalboxv1.EventType_EVENT_TYPE_UPDATED
	}
	h.now[name] = i
	record := proto.CloneOf(i)
	if e.Type != signalboxv1.EventType_EVENT_TYPE_OBSERVED {
		record.Observed = nil
	}
	e.Record = &signalboxv1.Event_Instance{Instance: record}
	return e
}

// list is the whole state.
func (h *history) list() listed {
	l := listed{version: &signalboxv1.Version{Epoch: "e", Revision: h.revision}}
	for _, i := range h.now {
		l.instances = append(l.instances, proto.CloneOf(i))
	}
	return l
}

// hear does with an event what panels do.
func (h *history) hear(t *testing.T, e event) {
	t.Helper()
	_, known := h.panel[e.Instance.ID]
	switch e.Type {
	case typeLog:
		return
	case typeCreate:
		if known || e.Instance.Status != stopped {
			t.Fatalf("%+v is created, and known is %v", e.Instance, known)
		}
	case typeUpdate:
		if !known {
			t.Fatalf("%+v is updated, and not known", e.Instance)
		}
	case typeDelete:
		delete(h.panel, e.Instance.ID)
		return
	}
	h.panel[e.Instance.ID] = *e.Instance
}

// same reports whether the panel shows what is.
func (h *history) same() bool {
	if len(h.panel) != len(h.now)+1 {
		return false
	}
	for name, i := range h.now {
		if !reflect.DeepEqual(h.panel[name], object(i)) {
			return false
		}
	}
	return true
}

// However slowly it is taken, and whatever comes between, a follower ends with
// what is; and an id that it is given to come back by has all that was before.
func TestAFollowerEndsWithWhatIs(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		h := &history{now: map[string]*signalboxv1.Instance{}, panel: map[string]instance{}}
		for range rnd.IntN(5) {
			h.change(rnd)
		}
		m := newMirror(keyObject("k", "m"))
		m.sync(h.list(), true)
		take := func(complete bool) bool {
			events, id := m.take(time.Now())
			for _, e := range events {
				h.hear(t, e)
			}
			if id != "" && complete && !h.same() {
				t.Fatalf("seed %d: at %s the panel shows %+v; there is %+v", seed, id, h.panel, h.now)
			}
			return len(events) > 0
		}
		var late []*signalboxv1.Event // they have happened, and were not told of yet
		for range 200 {
			switch rnd.IntN(8) {
			case 0, 1:
				late = append(late, h.change(rnd))
			case 2, 3, 4:
				if len(late) > 0 {
					m.apply(late[0])
					late = late[1:]
				}
			case 5: // what is late is in it already
				m.sync(h.list(), rnd.IntN(4) == 0)
			case 6:
				m.log(&signalboxv1.LogLine{Instance: "i1", Time: timestamppb.Now()}, 0)
				m.remind(time.Now().Add(time.Hour))
			default:
				take(len(late) == 0)
			}
			if len(m.order) > 6 || len(m.changed) != len(m.order) {
				t.Fatalf("seed %d: %d changes wait for %d instances", seed, len(m.order), len(h.now))
			}
		}
		for _, e := range late {
			m.apply(e)
		}
		for take(true) || len(m.order)+len(m.lines) > 0 {
			continue
		}
		if !h.same() {
			t.Fatalf("seed %d: the panel shows %+v; there is %+v", seed, h.panel, h.now)
		}
	}
}

// What a list has told is not taken back by what happened before it.
func TestOldEventsChangeNothing(t *testing.T) {
	at := func(revision int64, alias string) *signalboxv1.Instance {
		return &signalboxv1.Instance{Name: "a", Alias: alias, Url: oneURL, Meta: &signalboxv1.Meta{Revision: revision, CreatedRevision: 5}}
	}
	m := newMirror(keyObject("k", "m"))
	m.sync(listed{version: &signalboxv1.Version{Revision: 10}, instances: []*signalboxv1.Instance{at(8, "new")}}, true)
	m.take(time.Now())
	m.take(time.Now())
	for _, e := range []*signalboxv1.Event{
		{Type: signalboxv1.EventType_EVENT_TYPE_REMOVED, Name: "a", Version: &signalboxv1.Version{Revision: 4}},
		{Type: signalboxv1.EventType_EVENT_TYPE_CREATED, Name: "a", Record: &signalboxv1.Event_Instance{Instance: at(5, "first")}},
		{Type: signalboxv1.EventType_EVENT_TYPE_UPDATED, Name: "a", Record: &signalboxv1.Event_Instance{Instance: at(7, "old")}},
		{Type: signalboxv1.EventType_EVENT_TYPE_UPDATED, Name: "a", Record: &signalboxv1.Event_Instance{Instance: at(8, "new")}},
	} {
		m.apply(e)
		if events, _ := m.take(time.Now()); len(events) > 0 {
			t.Errorf("%v: told %+v", e, events)
		}
	}
	m.sync(listed{version: &signalboxv1.Version{Revision: 4}}, false) // older than the instance
	if events, _ := m.take(time.Now()); len(events) > 0 {
		t.Errorf("an old list: told %+v", events)
	}
}

// Control planes are asked in turn, and one may have heard less of the nodes.
func TestCountersGoBackOnlyAfterAReset(t *testing.T) {
	m := newMirror(keyObject("k", "m"))
	shown := func(created, resets int64, c *signalboxv1.InstanceCounters) [4]uint64 {
		m.sync(listed{version: &signalboxv1.Version{Revision: 9}, instances: []*signalboxv1.Instance{{
			Name: "a", Url: oneURL, Resets: resets, Meta: &signalboxv1.Meta{Revision: 9, CreatedRevision: created},
			Observed: &signalboxv1.InstanceObserved{Counters: c},
		}}}, false)
		o := object(m.newest["a"])
		return [4]uint64{o.TCPRx, o.TCPTx, o.UDPRx, o.UDPTx}
	}
	counters := func(all ...uint64) *signalboxv1.InstanceCounters {
		return &signalboxv1.InstanceCounters{TcpReceived: all[0], TcpSent: all[1], UdpReceived: all[2], UdpSent: all[3]}
	}
	for _, step := range []struct {
		created, resets int64
		counters        *signalboxv1.InstanceCounters
		want            [4]uint64
	}{
		{5, 0, counters(10, 10, 10, 10), [4]uint64{10, 10, 10, 10}},
		{5, 0, counters(9, 11, 12, 8), [4]uint64{10, 11, 12, 10}},
		{5, 0, nil, [4]uint64{10, 11, 12, 10}},
		{5, 0, counters(11, 12, 13, 14), [4]uint64{11, 12, 13, 14}},
		{5, 1, counters(1, 0, 0, 0), [4]uint64{1, 0, 0, 0}},
		{6, 1, counters(0, 1, 0, 0), [4]uint64{0, 1, 0, 0}},
	} {
		if got := shown(step.created, step.resets, step.counters); got != step.want {
			t.Errorf("after %+v: %v", step, got)
		}
	}
}

// count is how many lines a line says were left out, or 0.
func count(logs string) int {
	before, _, found := strings.Cut(logs, " lines were left out")
	if !found {
		return 0
	}
	n, _ := strconv.Atoi(before[strings.LastIndexByte(before, ' ')+1:])
	return n
}

func TestLinesThatCameTooFastAreCounted(t *testing.T) {
	m := newMirror(keyObject("k", "m"))
	const before, quiet = 1000, 7
	for range quiet {
		m.log(&signalboxv1.LogLine{Instance: "quiet", Text: "x"}, 0)
	}
	for n := range before {
		missed := int64(0)
		if n == before-1 {
			missed = 5
		}
		m.log(&signalboxv1.LogLine{Instance: "loud", Text: strconv.Itoa(n)}, missed)
	}
	if len(m.lines) != maxLines {
		t.Fatalf("%d lines wait", len(m.lines))
	}
	left := map[string]int{}
	lines := 0
	for events, _ := m.take(time.Now()); len(events) > 0; events, _ = m.take(time.Now()) {
		for _, e := range events {
			if n := count(e.Logs); n > 0 {
				left[e.Instance.ID] += n
			} else {
				lines++
			}
		}
	}
	if lines != maxLines || left["loud"] != before-maxLines+5 || left["quiet"] != quiet {
		t.Errorf("%d lines came, and %v were left out", lines, left)
	}
}

// A client that takes nothing for a while is told the newest then, and how much
// it has not heard; what waits for it does not grow.
func TestASlowFollowerIsToldTheNewest(t *testing.T) {
	m := start(t, Config{poll: time.Hour})
	for _, name := range []string{"a", "b", "gone"} {
		m.put(&signalboxv1.Instance{Name: name, Url: oneURL})
	}
	f := m.follow(gatewaytest.Admin)
	for range 4 {
		f.next()
	}
	if err := m.cp.Listeners(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	const writes, lines = 100, 2500
	for n := range lines {
		if n%(lines/writes) == 0 {
			for _, name := range []string{"a", "b"} {
				m.put(&signalboxv1.Instance{Name: name, Alias: strconv.Itoa(n * writes / lines), Url: oneURL})
			}
		}
		m.cp.Say(&signalboxv1.LogLine{Instance: "a", Time: timestamppb.Now(), Text: strings.Repeat("x", maxText)})
	}
	m.ask(204, "DELETE", "/instances/gone", "", nil)
	m.cp.Say(&signalboxv1.LogLine{Instance: "a", Time: timestamppb.Now(), Text: "the end"})
	aliases, updates, heard, left := map[string]string{}, 0, 0, 0
	for deleted, ended := false, false; !deleted || !ended || aliases["a"] != "99" || aliases["b"] != "99"; {
		switch e := f.next(); e.Type {
		case typeUpdate:
			updates++
			aliases[e.Instance.ID] = e.Instance.Alias
		case typeDelete:
			deleted = e.Instance.ID == "gone"
		case typeLog:
			heard++
			ended = strings.HasSuffix(*e.Logs, "the end")
			if n := count(*e.Logs); n > 0 {
				left += n
				heard--
			}
		default:
			t.Fatalf("got %+v", e)
		}
	}
	if heard+left != lines+1 || left == 0 || updates >= 2*writes {
		t.Errorf("%d updates came, %d lines, and %d are said to be left out of %d", updates, heard, left, lines+1)
	}
}

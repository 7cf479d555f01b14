package nodepass

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// The types of events.
const (
	typeInitial  = "initial"
	typeCreate   = "create"
	typeUpdate   = "update"
	typeDelete   = "delete"
	typeLog      = "log"
	typeShutdown = "shutdown"
)

// event is what followers are told, in NodePass's order of fields.
type event struct {
	Type     string    `json:"type"`
	Time     time.Time `json:"time"`
	Instance *instance `json:"instance"`
	Logs     string    `json:"logs"` // never absent: some clients end without it
}

// maxLines is how many lines of logs wait for one follower. When there are more
// the oldest are left out, and it is told how many.
const maxLines = 256

// A mirror is what one follower has been told, and what it has not been yet.
// However slow the follower is, what it keeps for it does not grow: of what
// happens to an instance the newest is told, and of lines a number is kept.
type mirror struct {
	wake chan struct{} // has something in it when there is something to take

	mu      sync.Mutex // guards what follows
	key     instance   // the follower's key
	newest  map[string]*signalboxv1.Instance
	told    map[string]told
	changed map[string]*change // what is to be told, by instance
	order   []string           // the keys of changed, the oldest first
	lines   []line             // the oldest first
	lost    map[string]int64   // lines left out, by instance
	seq     int64              // orders changes and lines
	at      string             // id of the newest event that is in here
	stamped string             // the last id that was given to the follower
}

// told is what a follower was told last of an instance, and when.
type told struct {
	instance *signalboxv1.Instance
	at       time.Time
}

// change is why an instance is to be told of.
type change struct {
	seq     int64
	initial bool // it is told as part of a whole state
	removed bool // an event has said so
}

// line is one of a log.
type line struct {
	seq int64
	*signalboxv1.LogLine
}

// newMirror returns a mirror for the holder of a key, to be filled by sync.
func newMirror(key instance) *mirror {
	return &mirror{
		wake: make(chan struct{}, 1), key: key,
		newest: map[string]*signalboxv1.Instance{}, told: map[string]told{},
		changed: map[string]*change{}, lost: map[string]int64{},
	}
}

// sync takes over a whole state. As initial all of it is told, and otherwise
// what is another than before.
func (m *mirror) sync(l listed, initial bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if initial {
		m.note(keyID).initial = true
	}
	there := map[string]bool{}
	for _, i := range l.instances {
		there[i.GetName()] = true
		m.merge(i, false)
		if initial {
			m.note(i.GetName()).initial = true
		}
	}
	for name, i := range m.newest {
		if !there[name] && i.GetMeta().GetCreatedRevision() <= l.version.GetRevision() {
			delete(m.newest, name)
			m.note(name)
		}
	}
}

// apply takes over one event. That a state is to be listed again, after a
// RESET, is the caller's to see.
func (m *mirror) apply(e *signalboxv1.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.GetType() {
	case signalboxv1.EventType_EVENT_TYPE_CREATED, signalboxv1.EventType_EVENT_TYPE_UPDATED, signalboxv1.EventType_EVENT_TYPE_OBSERVED:
		if i := e.GetInstance(); i != nil {
			m.merge(i, e.GetType() == signalboxv1.EventType_EVENT_TYPE_UPDATED)
		}
	case signalboxv1.EventType_EVENT_TYPE_REMOVED:
		if i := m.newest[e.GetName()]; i.GetMeta().GetCreatedRevision() <= e.GetVersion().GetRevision() {
			delete(m.newest, e.GetName())
			m.note(e.GetName()).removed = true
		}
	}
	if e.GetId() != "" {
		m.at = e.GetId()
	}
}

// merge takes over an instance, unless it is an older one. It is to be told of
// when it looks another way, or was written.
func (m *mirror) merge(i *signalboxv1.Instance, written bool) {
	old := m.newest[i.GetName()]
	if i.GetMeta().GetRevision() < old.GetMeta().GetRevision() {
		return
	}
	written = written && i.GetMeta().GetRevision() > old.GetMeta().GetRevision()
	if i.GetObserved() == nil && old.GetObserved() != nil && i.GetMeta().GetCreatedRevision() == old.GetMeta().GetCreatedRevision() {
		i = proto.CloneOf(i)
		i.Observed = old.GetObserved()
		if i.GetResets() != old.GetResets() {
			i.Observed = proto.CloneOf(i.Observed)
			i.Observed.Counters = nil
		}
	}
	i = notLess(i, old)
	m.newest[i.GetName()] = i
	if old == nil || written || !reflect.DeepEqual(withoutConfig(old), withoutConfig(i)) {
		m.note(i.GetName())
	}
}

// notLess is an instance with counters that are not behind those of an older
// one: control planes are asked in turn, and each knows as much as nodes have
// told it. After a reset they begin again.
func notLess(i, old *signalboxv1.Instance) *signalboxv1.Instance {
	now, before := i.GetObserved().GetCounters(), old.GetObserved().GetCounters()
	if i.GetObserved() == nil || before == nil || i.GetResets() != old.GetResets() ||
		i.GetMeta().GetCreatedRevision() != old.GetMeta().GetCreatedRevision() {
		return i
	}
	most := &signalboxv1.InstanceCounters{
		TcpReceived: max(now.GetTcpReceived(), before.GetTcpReceived()), TcpSent: max(now.GetTcpSent(), before.GetTcpSent()),
		UdpReceived: max(now.GetUdpReceived(), before.GetUdpReceived()), UdpSent: max(now.GetUdpSent(), before.GetUdpSent()),
	}
	if proto.Equal(most, now) {
		return i
	}
	i = proto.CloneOf(i)
	i.Observed.Counters = most
	return i
}

// note says that an instance is to be told of, and returns why.
func (m *mirror) note(name string) *change {
	c := m.changed[name]
	if c == nil {
		m.seq++
		c = &change{seq: m.seq}
		m.changed[name] = c
		m.order = append(m.order, name)
		m.rouse()
	}
	return c
}

// log takes over a line, and how many were lost before it.
func (m *mirror) log(l *signalboxv1.LogLine, missed int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if missed > 0 {
		m.lost[l.GetInstance()] += missed
	}
	if len(m.lines) == maxLines {
		m.lost[m.lines[0].GetInstance()]++
		m.lines = slices.Delete(m.lines, 0, 1)
	}
	m.seq++
	m.lines = append(m.lines, line{m.seq, l})
	m.rouse()
}

// remind has instances that run told of again if they were not since a moment.
func (m *mirror) remind(since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, t := range m.told {
		if t.at.Before(since) && statusOf(m.newest[name].GetObserved().GetState()) == running {
			m.note(name)
		}
	}
}

func (m *mirror) rouse() {
	select {
	case m.wake <- struct{}{}:
	default: // it is awake
	}
}

// take returns what is to be told next, and the id to come back by, where one
// can be given: only when nothing of what was before it is left to be told.
// There are no events when there is nothing to take.
func (m *mirror) take(now time.Time) (events []event, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.order) > 0 && (len(m.lines) == 0 || m.changed[m.order[0]].seq < m.lines[0].seq):
		events = m.takeChange(now)
	case len(m.lines) > 0:
		events = m.takeLine(now)
	default:
		return nil, ""
	}
	if len(events) == 0 || len(m.order) > 0 || len(m.lines) > 0 {
		m.rouse() // there is more, or may be
	}
	if len(events) > 0 && len(m.order) == 0 && m.at != m.stamped {
		m.stamped, id = m.at, m.at
	}
	return events, id
}

// takeChange is what is to be told of the instance that waits longest.
func (m *mirror) takeChange(now time.Time) []event {
	name := m.order[0]
	m.order = slices.Delete(m.order, 0, 1)
	c := m.changed[name]
	delete(m.changed, name)
	if name == keyID {
		key := m.key
		return []event{{Type: typeInitial, Time: now, Instance: &key}}
	}
	var events []event
	tell := func(kind string, o instance) {
		events = append(events, event{Type: kind, Time: now, Instance: &o})
	}
	i, before := m.newest[name], m.told[name].instance
	if other := before != nil && i.GetMeta().GetCreatedRevision() != before.GetMeta().GetCreatedRevision(); other || i == nil && c.removed {
		gone := object(before)
		gone.ID, gone.Status = name, stopped
		tell(typeDelete, gone)
		delete(m.told, name)
		before = nil
	}
	if i == nil {
		return events
	}
	o := object(i)
	switch {
	case c.initial:
		tell(typeInitial, o)
	case before != nil:
		tell(typeUpdate, o)
	default:
		fresh := o
		fresh.Status = stopped
		tell(typeCreate, fresh)
		if o.Status != stopped {
			tell(typeUpdate, o)
		}
	}
	m.told[name] = told{i, now}
	return events
}

// takeLine is what is to be told of the oldest line, after how many were lost
// before it; with the last also of those that lost some and say no more.
func (m *mirror) takeLine(now time.Time) []event {
	l := m.lines[0]
	m.lines = slices.Delete(m.lines, 0, 1)
	var events []event
	for name, n := range m.lost {
		if name != l.GetInstance() && len(m.lines) > 0 {
			continue
		}
		events = append(events, event{Type: typeLog, Time: now, Instance: m.known(name), Logs: leftOut(n, now)})
		delete(m.lost, name)
	}
	return append(events, event{Type: typeLog, Time: now, Instance: m.known(l.GetInstance()), Logs: said(l.LogLine)})
}

// known is an instance as far as it is known: a line may come before it.
func (m *mirror) known(name string) *instance {
	o := object(m.newest[name])
	o.ID = name
	return &o
}

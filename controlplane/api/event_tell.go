package api

import (
	"slices"

	"signalbox/controlplane/observe"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// step tells of one transaction, or of the loss of some.
func (t *teller) step(s step) error {
	if s.lost {
		return t.reset(s.change.Version)
	}
	for i, e := range eventsOf(s.change) {
		id := eventID{s.change.Version, i}
		if id.version == t.skip.version && i <= t.skip.index {
			continue
		}
		t.at = id
		t.written(e)
		if err := t.say(e); err != nil {
			return err
		}
		if e.GetKind() == signalboxv1.Kind_KIND_ASSIGNMENT {
			if err := t.stood(e.GetName()); err != nil {
				return err
			}
		}
	}
	return nil
}

// eventsOf is what happened in a transaction, in order of keys: so that every
// replica counts alike.
func eventsOf(ch store.Change) []*signalboxv1.Event {
	type happened struct {
		key   store.Key
		event *signalboxv1.Event
	}
	all := make([]happened, 0, len(ch.Put)+len(ch.Delete))
	for i := range ch.Put {
		all = append(all, happened{ch.Put[i].Key, writtenEvent(&ch.Put[i])})
	}
	for _, key := range ch.Delete {
		all = append(all, happened{key, &signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_REMOVED}})
	}
	slices.SortFunc(all, func(a, b happened) int { return a.key.Compare(b.key) })
	told := make([]*signalboxv1.Event, len(all))
	for i, h := range all {
		h.event.Kind, h.event.Name = observe.KindOf(h.key.Kind), h.key.Name
		told[i] = h.event
	}
	return told
}

// writtenEvent says that a record was written.
func writtenEvent(r *store.Record) *signalboxv1.Event {
	e := &signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_UPDATED}
	if r.Created == r.Modified {
		e.Type = signalboxv1.EventType_EVENT_TYPE_CREATED
	}
	switch m := r.Message.(type) {
	case *signalboxv1.Route:
		e.Record = &signalboxv1.Event_Route{Route: m}
	case *signalboxv1.Listener:
		e.Record = &signalboxv1.Event_Listener{Listener: m}
	case *signalboxv1.Instance:
		e.Record = &signalboxv1.Event_Instance{Instance: m}
	case *signalboxv1.Node:
		e.Record = &signalboxv1.Event_Node{Node: m}
	case *signalboxv1.ApiKeyRecord:
		e.Record = &signalboxv1.Event_ApiKey{ApiKey: m.GetKey()} // not the hash
	}
	return e
}

// reset says that everything up to a state was lost.
func (t *teller) reset(v store.Version) error {
	t.at = behind(v)
	t.stages()
	return t.say(&signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_RESET})
}

// observed tells how nodes stand now.
func (t *teller) observed(names []string) error {
	view, _ := t.Replica.Now()
	sight := newSight(view, t.Nodes)
	for _, name := range names {
		n := sight.node(name)
		if n == nil {
			continue // forgotten meanwhile
		}
		err := t.say(&signalboxv1.Event{
			Type: signalboxv1.EventType_EVENT_TYPE_OBSERVED, Kind: signalboxv1.Kind_KIND_NODE, Name: name,
			Record: &signalboxv1.Event_Node{Node: n},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// say sends an event, if the caller is to be told of its kind, with the id of the
// place that was reached.
func (t *teller) say(e *signalboxv1.Event) error {
	if e.Kind != signalboxv1.Kind_KIND_UNSPECIFIED && !t.kinds[e.Kind] {
		return nil
	}
	e.Id, e.Version = t.at.String(), version(t.at.version)
	return t.stream.Send(&signalboxv1.FollowEventsResponse{Event: e})
}

package api

import (
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A stage is what of an instance's standing is worth an event, in a form that
// can be compared.
type stage string

// stageOf leaves out what is only counted or measured.
func stageOf(o *signalboxv1.InstanceObserved) stage {
	told := &signalboxv1.InstanceObserved{State: o.GetState(), Reason: o.GetReason()}
	for _, r := range o.GetRuns() {
		told.Runs = append(told.Runs, &signalboxv1.InstanceRun{
			Node: r.GetNode(), State: r.GetState(), Reason: r.GetReason(), Mode: r.GetMode(), Wire: r.GetWire(),
		})
	}
	bytes, _ := proto.MarshalOptions{Deterministic: true}.Marshal(told) // of text that is UTF-8 never fails
	return stage(bytes)
}

// stages takes note of how all instances stand, as if it had been told.
func (t *teller) stages() {
	if !t.kinds[signalboxv1.Kind_KIND_INSTANCE] {
		return
	}
	t.told = map[string]stage{}
	view, _ := t.Replica.Now()
	if view == nil {
		return
	}
	outlook := t.outlook(view)
	view.Ascend(store.KindInstance, "", "", func(r *store.Record) bool {
		t.told[r.Name] = stageOf(outlook.of(r.Message.(*signalboxv1.Instance)).observed())
		return true
	})
}

// written completes the event of a change: with an instance goes what is
// observed of it, and how it stands may be another with its assignment.
func (t *teller) written(e *signalboxv1.Event) {
	switch {
	case t.told == nil:
	case e.GetInstance() != nil:
		view, _ := t.Replica.Now()
		i := t.outlook(view).shown(t.caller, e.GetInstance())
		t.told[e.GetName()] = stageOf(i.GetObserved())
		e.Record = &signalboxv1.Event_Instance{Instance: i}
	case e.GetKind() == signalboxv1.Kind_KIND_INSTANCE:
		delete(t.told, e.GetName())
	}
}

// stood tells how instances stand now, of those that stand otherwise than was
// told.
func (t *teller) stood(names ...string) error {
	view, _ := t.Replica.Now()
	if view == nil || t.told == nil {
		return nil
	}
	outlook := t.outlook(view)
	for _, name := range names {
		if r := view.Get(instanceKey(name)); r != nil {
			if err := t.compare(outlook, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// stoodAll is stood for all whose standing depends on who is there.
func (t *teller) stoodAll() error {
	view, _ := t.Replica.Now()
	if view == nil || t.told == nil {
		return nil
	}
	var err error
	outlook := t.outlook(view)
	view.Ascend(store.KindInstance, "", "", func(r *store.Record) bool {
		err = t.compare(outlook, r)
		return err == nil
	})
	return err
}

// compare tells how an instance stands, if that is another than was told. What
// was written of it and not told yet will say it.
func (t *teller) compare(outlook *outlook, r *store.Record) error {
	if outlook.view.Version.Epoch != t.at.version.Epoch || r.Modified > t.at.version.Revision {
		return nil
	}
	i := r.Message.(*signalboxv1.Instance)
	observed := outlook.of(i).observed()
	now := stageOf(observed)
	if t.told[r.Name] == now {
		return nil
	}
	t.told[r.Name] = now
	i = proto.CloneOf(i)
	i.Observed = observed
	return t.say(&signalboxv1.Event{
		Type: signalboxv1.EventType_EVENT_TYPE_OBSERVED, Kind: signalboxv1.Kind_KIND_INSTANCE, Name: r.Name,
		Record: &signalboxv1.Event_Instance{Instance: visible(t.caller, i)},
	})
}

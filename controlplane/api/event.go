package api

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// events is the EventService.
type events struct {
	signalboxv1.UnimplementedEventServiceServer
	*core
}

// FollowEvents implements EventService. Its first event is a HEARTBEAT or,
// when something is lost already, a RESET: so the caller knows from where on
// it is told everything.
func (s *events) FollowEvents(req *signalboxv1.FollowEventsRequest, stream grpc.ServerStreamingServer[signalboxv1.FollowEventsResponse]) error {
	var bad problems
	after, asked := bad.after(req.GetAfter()), bad.kinds(req.GetKinds())
	if err := bad.err(); err != nil {
		return s.fail(err)
	}
	ctx := stream.Context()
	caller := auth.Caller(ctx)
	kinds, err := readable(caller, asked)
	if err != nil {
		return s.fail(err)
	}
	told := &teller{core: s.core, stream: stream, caller: caller, kinds: kinds}
	// The caller may have seen what this replica has not read yet.
	if _, err := s.current(ctx); err != nil {
		return s.fail(err)
	}
	cursor, err := told.begin(after)
	if err != nil {
		return s.fail(err)
	}
	return s.fail(told.follow(ctx, cursor))
}

// after reads where to begin, nil for now.
func (p *problems) after(s string) *eventID {
	if s == "" {
		return nil
	}
	id, ok := parseEventID(s)
	if !ok {
		p.add("after", "must be the id of an event, \"EPOCH.REVISION.INDEX\"")
	}
	return &id
}

// kinds reads the kinds to tell of, none for all.
func (p *problems) kinds(kinds []signalboxv1.Kind) map[signalboxv1.Kind]bool {
	wanted := map[signalboxv1.Kind]bool{}
	for i, k := range kinds {
		if _, known := signalboxv1.Kind_name[int32(k)]; !known || k == signalboxv1.Kind_KIND_UNSPECIFIED {
			p.add(index("kinds", i), "%d is not a kind of record", k)
		}
		wanted[k] = true
	}
	return wanted
}

// readScopes are what a key needs to read records of a kind.
var readScopes = map[signalboxv1.Kind]string{
	signalboxv1.Kind_KIND_ROUTE:    "routes:read",
	signalboxv1.Kind_KIND_LISTENER: "listeners:read",
	signalboxv1.Kind_KIND_NODE:     "nodes:read",
	signalboxv1.Kind_KIND_API_KEY:  "keys:read",
	signalboxv1.Kind_KIND_INSTANCE: "instances:read",

	signalboxv1.Kind_KIND_REVOCATION: "nodes:read",
	signalboxv1.Kind_KIND_ASSIGNMENT: "instances:read",
}

// readable are the kinds that a caller is told of, since an event holds the
// whole record: those it asked for, or all that it may read. Who asks for one
// that it may not read is refused.
func readable(caller *signalboxv1.ApiKey, asked map[signalboxv1.Kind]bool) (map[signalboxv1.Kind]bool, error) {
	told := map[signalboxv1.Kind]bool{}
	for kind, scope := range readScopes {
		told[kind] = auth.Allows(caller, scope)
	}
	if len(asked) == 0 {
		return told, nil
	}
	for kind := range asked {
		if !told[kind] {
			return nil, status.Errorf(codes.PermissionDenied, "kinds: events of this kind need an API key with scope %q, too", readScopes[kind])
		}
	}
	return asked, nil
}

// A teller tells one caller what happens. It belongs to one goroutine.
type teller struct {
	*core
	stream grpc.ServerStreamingServer[signalboxv1.FollowEventsResponse]
	caller *signalboxv1.ApiKey
	kinds  map[signalboxv1.Kind]bool
	// at is the last wanted change that was told, or left out since its kind
	// is not asked for.
	at eventID
	// told is how instances stand, as far as the caller knows; nil when it is not
	// told of them.
	told map[string]stage
	// skip is the place up to which the caller has been told already.
	skip eventID
}

// begin places a cursor and says where it stands.
func (t *teller) begin(after *eventID) (*replica.Cursor, error) {
	if after == nil {
		cursor, v := t.Replica.Follow()
		t.at = behind(v)
		return cursor, t.say(&signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_HEARTBEAT})
	}
	t.at, t.skip = *after, *after
	if cursor, ok := t.Replica.FollowFrom(after.version); ok {
		return cursor, t.say(&signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_HEARTBEAT})
	}
	// Without the change itself it is not known whether the caller has seen
	// all of it, unless the id says so.
	if cursor, ok := t.Replica.FollowAfter(after.version); ok && after.index == allOf {
		return cursor, t.say(&signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_HEARTBEAT})
	}
	cursor, v := t.Replica.Follow()
	return cursor, t.reset(v)
}

// step is what a cursor gives.
type step struct {
	change store.Change
	lost   bool
}

// follow tells what happens until ctx ends, and returns its cause.
func (t *teller) follow(ctx context.Context, cursor *replica.Cursor) error {
	ctx, cancel := context.WithCancel(ctx)
	steps := make(chan step)
	var reader sync.WaitGroup
	reader.Go(func() { read(ctx, cursor, steps) })
	defer reader.Wait()
	defer cancel()
	beat := time.NewTicker(t.Heartbeat)
	defer beat.Stop()
	_, seen, observed := t.Nodes.Changed(0)
	_, stood, moved := t.Instances.Changed(0)
	t.stages()
	for {
		var err error
		select {
		case s := <-steps:
			err = t.step(s)
		case <-observed:
			var names []string
			names, seen, observed = t.Nodes.Changed(seen)
			if err = t.observed(names); err == nil {
				err = t.stoodAll()
			}
		case <-moved:
			var names []string
			names, stood, moved = t.Instances.Changed(stood)
			err = t.stood(names...)
		case <-beat.C:
			// That nothing was heard for long enough is news without anything new.
			if err = t.stoodAll(); err == nil {
				err = t.say(&signalboxv1.Event{Type: signalboxv1.EventType_EVENT_TYPE_HEARTBEAT})
			}
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// read hands on what a cursor gives until ctx ends. A caller that does not
// take it is not waited for by anybody else: the cursor then tells of a loss.
func read(ctx context.Context, cursor *replica.Cursor, steps chan<- step) {
	for {
		change, lost, err := cursor.Next(ctx)
		if err != nil {
			return
		}
		select {
		case steps <- step{change, lost}:
		case <-ctx.Done():
			return
		}
	}
}

package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/api"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// A follower is a stream of events.
type follower struct {
	t      testing.TB
	stream grpc.ServerStreamingClient[signalboxv1.FollowEventsResponse]
	// first is the event it began with.
	first *signalboxv1.Event
}

// follow opens a stream of events, and reads the first.
func (p *plane) follow(ctx context.Context, after string, kinds ...signalboxv1.Kind) *follower {
	p.t.Helper()
	stream, err := p.events.FollowEvents(ctx, &signalboxv1.FollowEventsRequest{After: after, Kinds: kinds})
	if err != nil {
		p.t.Fatal(err)
	}
	f := &follower{t: p.t, stream: stream}
	f.first = f.next()
	return f
}

func (f *follower) next() *signalboxv1.Event {
	f.t.Helper()
	res, err := f.stream.Recv()
	if err != nil {
		f.t.Fatal(err)
	}
	return res.GetEvent()
}

// says reads the events that are to come next, each as "TYPE kind/name".
func (f *follower) says(want ...string) (last *signalboxv1.Event) {
	f.t.Helper()
	for _, w := range want {
		last = f.next()
		if got := sentence(last); got != w {
			f.t.Fatalf("event %v: %q, want %q", last, got, w)
		}
	}
	return last
}

func sentence(e *signalboxv1.Event) string {
	kind := strings.ToLower(strings.TrimPrefix(e.GetKind().String(), "KIND_"))
	return fmt.Sprintf("%s %s/%s", strings.TrimPrefix(e.GetType().String(), "EVENT_TYPE_"), kind, e.GetName())
}

const (
	beat  = "HEARTBEAT unspecified/"
	reset = "RESET unspecified/"
)

// Every wanted change is told once, in order, with the record as it is then.
func TestEvents(t *testing.T) {
	p := start(t, mem.New())
	f := p.follow(bounded(t), "")
	if got := sentence(f.first); got != beat {
		t.Errorf("the stream begins with %q", got)
	}
	made := p.put(route("b", "/b"))
	p.put(route("b", "/b2"))
	if _, err := p.batch([]*signalboxv1.Route{route("c", "/c"), route("a", "/a")}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	p.key("ci", "routes:read")
	if _, err := p.wanted.PutNode(bounded(t), &signalboxv1.PutNodeRequest{Node: &signalboxv1.Node{Name: "n"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.listeners.PutListener(bounded(t), &signalboxv1.PutListenerRequest{Listener: &signalboxv1.Listener{Name: "l"}}); err != nil {
		t.Fatal(err)
	}
	first := f.says("CREATED route/b")
	if first.GetRoute().GetMatch().GetPathPrefix() != "/b" || first.GetVersion().GetRevision() != made.GetMeta().GetRevision() ||
		first.GetId() != fmt.Sprintf("%s.%d.0", first.GetVersion().GetEpoch(), made.GetMeta().GetRevision()) {
		t.Errorf("created: %v", first)
	}
	if e := f.says("UPDATED route/b"); e.GetRoute().GetMatch().GetPathPrefix() != "/b2" {
		t.Errorf("updated: %v", e)
	}
	one, two := f.says("CREATED route/a"), f.says("CREATED route/c")
	if !strings.HasSuffix(one.GetId(), ".0") || !strings.HasSuffix(two.GetId(), ".1") || one.GetVersion().GetRevision() != two.GetVersion().GetRevision() {
		t.Errorf("one transaction: %v and %v", one, two)
	}
	if e := f.says("REMOVED route/b"); e.GetRecord() != nil {
		t.Errorf("removed: %v", e)
	}
	if e := f.says("CREATED api_key/ci"); e.GetApiKey().GetName() != "ci" {
		t.Errorf("a key: %v", e)
	}
	f.says("CREATED node/n", "CREATED listener/l")
}

// Whoever comes back with the id of the last event misses nothing and hears
// nothing twice, on any control plane.
func TestEventsResume(t *testing.T) {
	st := mem.New()
	planes := []*plane{start(t, st), start(t, st.Another())}
	p := planes[0]
	f := p.follow(bounded(t), "")
	begin := f.first.GetId()
	if _, err := p.batch([]*signalboxv1.Route{route("a", "/a"), route("b", "/b"), route("c", "/c")}, false); err != nil {
		t.Fatal(err)
	}
	p.put(route("d", "/d"))
	all := []string{"CREATED route/a", "CREATED route/b", "CREATED route/c", "CREATED route/d"}
	ids := []string{begin}
	for _, want := range all {
		ids = append(ids, f.says(want).GetId())
	}
	for _, p := range planes {
		for i, id := range ids {
			again := p.follow(bounded(t), id)
			if got := sentence(again.first); got != beat || again.first.GetId() != id {
				t.Errorf("after %s the stream begins with %q, %s", id, got, again.first.GetId())
			}
			again.says(all[i:]...)
		}
	}
	p.put(route("e", "/e"))
	// What another control plane told of is waited for where it is not known
	// yet.
	last := f.says("CREATED route/e").GetId()
	p.put(route("f", "/f"))
	planes[1].follow(bounded(t), last).says("CREATED route/f")
}

// Where something is lost, a RESET stands for it, and whoever comes back with
// its id is told what follows.
func TestEventsReset(t *testing.T) {
	st := mem.New()
	p := start(t, st)
	f := p.follow(bounded(t), "")
	made := p.put(route("a", "/a"))
	seen := f.says("CREATED route/a")

	// A replica that starts later has no memory of the transaction itself.
	late := start(t, st.Another())
	again := late.follow(bounded(t), seen.GetId())
	if got := sentence(again.first); got != reset || again.first.GetVersion().GetRevision() != made.GetMeta().GetRevision() {
		t.Errorf("unknown transaction: %q", again.first)
	}
	p.put(route("b", "/b"))
	again.says("CREATED route/b")
	resumed := late.follow(bounded(t), again.first.GetId())
	resumed.says("CREATED route/b")

	if got := sentence(p.follow(bounded(t), "elsewhere.7.0").first); got != reset {
		t.Errorf("an unknown epoch: %q", got)
	}
	f.says("CREATED route/b")
	// The way to the store is cut, and the history in between is lost.
	other := st.Another()
	backup := other.Backup()
	st.SetAvailable(false)
	if _, err := other.Commit(t.Context(), store.Txn{Put: []store.Record{{Key: routeStoreKey("x"), Message: route("x", "/x")}}}); err != nil {
		t.Fatal(err)
	}
	other.Compact()
	st.SetAvailable(true)
	f.says(reset)
	other.Restore(backup)
	e := f.says(reset)
	if e.GetVersion().GetEpoch() == seen.GetVersion().GetEpoch() {
		t.Errorf("a store restored from a backup is in the old epoch: %v", e)
	}
	p.put(route("c", "/c"))
	f.says("CREATED route/c")
}

// What is no event's id, and no kind, is refused.
func TestEventsRefuse(t *testing.T) {
	p := start(t, mem.New())
	for _, c := range []struct {
		req    *signalboxv1.FollowEventsRequest
		fields []string
	}{
		{&signalboxv1.FollowEventsRequest{After: "x"}, []string{"after"}},
		{&signalboxv1.FollowEventsRequest{After: "e.1"}, []string{"after"}},
		{&signalboxv1.FollowEventsRequest{After: ".1.0"}, []string{"after"}},
		{&signalboxv1.FollowEventsRequest{After: "e.-1.0"}, []string{"after"}},
		{&signalboxv1.FollowEventsRequest{After: "e.1.x"}, []string{"after"}},
		{&signalboxv1.FollowEventsRequest{After: "e.01.0"}, []string{"after"}},
		{&signalboxv1.FollowEventsRequest{Kinds: []signalboxv1.Kind{1, 0, 99}}, []string{"kinds[1]", "kinds[2]"}},
	} {
		stream, err := p.events.FollowEvents(bounded(t), c.req)
		if err == nil {
			_, err = stream.Recv()
		}
		refused(t, err, codes.InvalidArgument, c.fields...)
	}
}

// A follower is told of the kinds it asked for, and its place moves on with
// the others'.
func TestEventKinds(t *testing.T) {
	p := start(t, mem.New(), func(c *api.Config) { c.Heartbeat = time.Millisecond })
	f := p.follow(bounded(t), "", signalboxv1.Kind_KIND_LISTENER)
	rev := p.put(route("a", "/a")).GetMeta().GetRevision()
	for e := f.first; e.GetVersion().GetRevision() < rev; {
		e = f.says(beat)
	}
	if _, err := p.listeners.PutListener(bounded(t), &signalboxv1.PutListenerRequest{Listener: &signalboxv1.Listener{Name: "l"}}); err != nil {
		t.Fatal(err)
	}
	e := f.next()
	for sentence(e) == beat {
		e = f.next()
	}
	if got := sentence(e); got != "CREATED listener/l" {
		t.Errorf("told of %q", got)
	}
}

// A node's standing is told as it changes, under the id of the wanted change
// before it.
func TestObservedEvents(t *testing.T) {
	p := start(t, mem.New())
	rev := p.put(route("a", "/a")).GetMeta().GetRevision()
	f := p.follow(bounded(t), "", signalboxv1.Kind_KIND_NODE)
	until := func(state signalboxv1.NodeState) *signalboxv1.Event {
		t.Helper()
		for {
			e := f.says("OBSERVED node/n") // more than once, as it joins
			if e.GetNode().GetObserved().GetState() == state {
				return e
			}
		}
	}
	m := p.join(t, "n")
	e := until(signalboxv1.NodeState_NODE_STATE_LIVE)
	if e.GetVersion().GetRevision() != rev || e.GetId() != f.first.GetId() || e.GetNode().GetObserved().GetSoftwareVersion() != "v1" {
		t.Errorf("live: %v", e)
	}
	m.link.Leave(true)
	until(signalboxv1.NodeState_NODE_STATE_LOST)
}

// A stream ends with the key it was opened with.
func TestEventsEndWithTheirKey(t *testing.T) {
	st := mem.New()
	planes := []*plane{start(t, st), start(t, st.Another())}
	secret := planes[0].key("watcher", "events:read", "routes:read")
	if _, err := planes[1].replica.Current(bounded(t)); err != nil {
		t.Fatal(err)
	}
	var streams []*follower
	for _, p := range planes {
		streams = append(streams, p.follow(as(bounded(t), secret), "", signalboxv1.Kind_KIND_ROUTE))
	}
	other := planes[0].follow(bounded(t), "", signalboxv1.Kind_KIND_ROUTE)
	if _, err := planes[0].keys.DeleteApiKey(bounded(t), &signalboxv1.DeleteApiKeyRequest{Name: "watcher"}); err != nil {
		t.Fatal(err)
	}
	for _, f := range streams {
		_, err := f.stream.Recv()
		refused(t, err, codes.Unauthenticated)
	}
	planes[0].put(route("a", "/a"))
	other.says("CREATED route/a")
}

// A stream ends when its key expires, and beats until then.
func TestEventsEndWhenTheirKeyExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, mem.New())
		res, err := p.keys.CreateApiKey(t.Context(), &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{
			Name: "brief", Scopes: []string{"events:read"}, ExpireTime: timestamppb.New(time.Now().Add(40 * time.Second)),
		}})
		if err != nil {
			t.Fatal(err)
		}
		f := p.follow(as(t.Context(), res.GetSecret()), "")
		f.says(beat, beat) // after 15 s and 30 s
		_, err = f.stream.Recv()
		refused(t, err, codes.Unauthenticated)
		stream, err := p.events.FollowEvents(as(t.Context(), res.GetSecret()), &signalboxv1.FollowEventsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		refused(t, err, codes.Unauthenticated)
	})
}

// An event holds a record, so it is for those who may read that.
func TestEventsAreForReadersOfTheirRecords(t *testing.T) {
	p := start(t, mem.New(), func(c *api.Config) { c.Heartbeat = 10 * time.Millisecond })
	begin := p.follow(bounded(t), "").first.GetId()
	watch, blind := p.key("watch", "events:read", "nodes:read"), p.key("blind", "events:read")
	p.put(route("a", "/a"))
	node, err := p.wanted.PutNode(bounded(t), &signalboxv1.PutNodeRequest{Node: &signalboxv1.Node{Name: "n"}})
	if err != nil {
		t.Fatal(err)
	}
	end := node.GetResult().GetVersion().GetRevision()
	for _, c := range []struct {
		who, key string
		want     []string
	}{
		{"an admin", adminSecret, []string{"CREATED api_key/watch", "CREATED api_key/blind", "CREATED route/a", "CREATED node/n"}},
		{"a reader of nodes", watch, []string{"CREATED node/n"}},
		{"a reader of nothing", blind, nil},
	} {
		var told []string
		f := p.follow(as(bounded(t), c.key), begin)
		for {
			e := f.next()
			if s := sentence(e); s != beat {
				told = append(told, s)
			} else if e.GetVersion().GetRevision() >= end {
				break
			}
		}
		if !slices.Equal(told, c.want) {
			t.Errorf("%s is told %q, want %q", c.who, told, c.want)
		}
	}
	for _, kinds := range [][]signalboxv1.Kind{{signalboxv1.Kind_KIND_ROUTE}, {signalboxv1.Kind_KIND_NODE, signalboxv1.Kind_KIND_API_KEY}} {
		stream, err := p.events.FollowEvents(as(bounded(t), watch), &signalboxv1.FollowEventsRequest{Kinds: kinds})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		refused(t, err, codes.PermissionDenied)
	}
}

// A caller that does not read holds nobody up, and is told of its loss.
func TestSlowFollower(t *testing.T) {
	st := mem.New()
	p := start(t, st)
	slow := p.follow(bounded(t), "", signalboxv1.Kind_KIND_ROUTE)
	big := many(60)
	for _, r := range big {
		r.Data = `{"x":"` + strings.Repeat("x", 20_000) + `"}`
	}
	// More than the connection buffers, and more than a replica remembers.
	for range 3 {
		if _, err := p.batch(big, false); err != nil {
			t.Fatal(err)
		}
	}
	var last store.Revision
	for range 11_500 {
		var err error
		if last, err = st.Commit(t.Context(), store.Txn{Put: []store.Record{{Key: routeStoreKey("a"), Message: route("a", "/a")}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.replica.Current(bounded(t)); err != nil {
		t.Fatal(err)
	}
	lost := false
	var seen []store.Revision
	for e := slow.next(); ; e = slow.next() {
		seen = append(seen, version(e.GetVersion()).Revision)
		if e.GetType() == signalboxv1.EventType_EVENT_TYPE_RESET {
			lost = true
		}
		if seen[len(seen)-1] == last {
			break
		}
	}
	if !lost || !slices.IsSorted(seen) {
		t.Errorf("%d events, a RESET among them: %t", len(seen), lost)
	}
}

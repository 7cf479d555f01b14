package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// A route is stored in its normal form, with its place in history, and read
// back as it is.
func TestPutRoute(t *testing.T) {
	p := start(t, mem.New())
	r := route("blog", "/blog/")
	r.Match.Host, r.Data, r.Labels = "WWW.Example.org.", "{ \"a\":  1.0 }", map[string]string{"team": "a"}
	r.Meta = &signalboxv1.Meta{Revision: 7, CreatedRevision: 7}
	before := time.Now()
	res, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: r})
	if err != nil {
		t.Fatal(err)
	}
	got, v := res.GetRoute(), res.GetResult().GetVersion()
	if got.GetMatch().GetHost() != "www.example.org" || got.GetMatch().GetPathPrefix() != "/blog" || got.GetData() != r.GetData() {
		t.Errorf("stored %v", got)
	}
	if m := got.GetMeta(); m.GetRevision() != v.GetRevision() || m.GetCreatedRevision() != v.GetRevision() || v.GetEpoch() == "" {
		t.Errorf("meta %v of a write at %v", m, v)
	}
	if m := got.GetMeta(); m.GetCreateTime().AsTime().Before(before.Add(-time.Second)) || !m.GetUpdateTime().AsTime().Equal(m.GetCreateTime().AsTime()) {
		t.Errorf("times %v", m)
	}
	read, err := p.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: "blog"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, read.GetRoute(), protocmp.Transform()); diff != "" {
		t.Errorf("read is not what was written (-wrote +read):\n%s", diff)
	}
	if o := read.GetObserved(); len(o.GetCounters().GetStatuses()) != 5 || !o.GetLastActivity().AsTime().Equal(got.GetMeta().GetUpdateTime().AsTime()) {
		t.Errorf("observed of a route that carried nothing: %v", o)
	}
	again := p.put(route("blog", "/blog"))
	if m := again.GetMeta(); m.GetCreatedRevision() != v.GetRevision() || m.GetRevision() <= v.GetRevision() || !m.GetCreateTime().AsTime().Equal(got.GetMeta().GetCreateTime().AsTime()) {
		t.Errorf("written again: meta %v", m)
	}
}

// What is wrong with a request is named by field, all of it, and nothing is
// written.
func TestPutRouteRefuses(t *testing.T) {
	p := start(t, mem.New())
	for name, c := range map[string]struct {
		req    *signalboxv1.PutRouteRequest
		fields []string
	}{
		"no route":         {&signalboxv1.PutRouteRequest{}, []string{"route"}},
		"everything wrong": {&signalboxv1.PutRouteRequest{Route: &signalboxv1.Route{Match: &signalboxv1.Match{PathPrefix: "x"}}}, []string{"route.name", "route.match.path_prefix", "route.upstreams"}},
		"a bad upstream":   {&signalboxv1.PutRouteRequest{Route: &signalboxv1.Route{Name: "a", Upstreams: []*signalboxv1.Upstream{{Url: "ftp://x"}}}}, []string{"route.upstreams[0].url"}},
		"a long wait":      {&signalboxv1.PutRouteRequest{Route: route("a", "/"), WaitTimeout: durationpb.New(61 * time.Second)}, []string{"wait_timeout"}},
		"a wait backwards": {&signalboxv1.PutRouteRequest{Route: route("a", "/"), WaitTimeout: durationpb.New(-1)}, []string{"wait_timeout"}},
		"an unknown wait":  {&signalboxv1.PutRouteRequest{Route: route("a", "/"), Wait: 7}, []string{"wait"}},
		"a revision below": {&signalboxv1.PutRouteRequest{Route: route("a", "/"), ExpectedRevision: ptr[int64](-1)}, []string{"expected_revision"}},
	} {
		_, err := p.routes.PutRoute(bounded(t), c.req)
		t.Run(name, func(t *testing.T) { refused(t, err, codes.InvalidArgument, c.fields...) })
	}
	big := route("big", "/big")
	for range 256 {
		big.Upstreams = append(big.Upstreams, &signalboxv1.Upstream{Url: "http://h/" + strings.Repeat("x", 8000)})
	}
	big.Upstreams = big.Upstreams[:256]
	_, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: big})
	refused(t, err, codes.InvalidArgument, "route")
	_, err = p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: big, ValidateOnly: true})
	refused(t, err, codes.InvalidArgument, "route")
	if _, err := p.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: "a"}); status.Code(err) != codes.NotFound {
		t.Errorf("after refused writes: %v, want NOT_FOUND", err)
	}
}

// An expected revision is held against the present one.
func TestExpectedRevision(t *testing.T) {
	p := start(t, mem.New())
	rev := p.put(route("a", "/a")).GetMeta().GetRevision()
	for _, c := range []struct {
		name     string
		expected int64
		code     codes.Code
		says     string
	}{
		{"new", 0, codes.OK, ""},
		{"a", 0, codes.AlreadyExists, `route "a" exists, at revision`},
		{"a", rev + 1, codes.Aborted, `route "a" is at revision`},
		{"a", rev - 1, codes.Aborted, `route "a" is at revision`},
		{"gone", rev, codes.Aborted, `route "gone" does not exist`},
		{"a", rev, codes.OK, ""},
	} {
		_, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route(c.name, "/"+c.name), ExpectedRevision: &c.expected})
		if status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.says) {
			t.Errorf("PutRoute(%q) expecting %d: %v, want %v", c.name, c.expected, err, c.code)
		}
	}
	_, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "a", ExpectedRevision: &rev})
	refused(t, err, codes.Aborted)
}

// No two routes have the same match; the one that has it is named. A match
// that is given up is free at once.
func TestMatchIsUnique(t *testing.T) {
	p := start(t, mem.New())
	p.put(route("a", "/x"))
	for _, validateOnly := range []bool{true, false} {
		_, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("b", "/x/"), ValidateOnly: validateOnly})
		if status.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("same match, validate_only %t: %v, want ALREADY_EXISTS naming a", validateOnly, err)
		}
	}
	p.put(route("a", "/y"))
	p.put(route("b", "/x"))
	if _, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	p.put(route("c", "/x"))
}

// validate_only writes nothing, and answers what would be stored.
func TestValidateOnly(t *testing.T) {
	p := start(t, mem.New())
	rev := p.put(route("a", "/a")).GetMeta().GetRevision()
	res, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("b", "/b/"), ValidateOnly: true, Wait: signalboxv1.Wait_WAIT_NODES})
	if err != nil || res.GetResult().GetVersion() != nil || res.GetRoute().GetMatch().GetPathPrefix() != "/b" || res.GetRoute().GetMeta().GetRevision() != 0 {
		t.Errorf("PutRoute = %v, %v", res, err)
	}
	if _, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "a", ValidateOnly: true}); err != nil {
		t.Errorf("DeleteRoute = %v", err)
	}
	_, err = p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "b", ValidateOnly: true})
	refused(t, err, codes.NotFound)
	list, err := p.routes.ListRoutes(bounded(t), &signalboxv1.ListRoutesRequest{})
	if err != nil || len(list.GetRoutes()) != 1 || list.GetVersion().GetRevision() != rev {
		t.Errorf("after validate_only: %v, %v", list, err)
	}
}

// DeleteRoute removes a route once.
func TestDeleteRoute(t *testing.T) {
	p := start(t, mem.New())
	made := p.put(route("a", "/a"))
	res, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "a", ExpectedRevision: ptr(made.GetMeta().GetRevision())})
	if err != nil || res.GetResult().GetVersion().GetRevision() <= made.GetMeta().GetRevision() {
		t.Fatalf("DeleteRoute = %v, %v", res, err)
	}
	_, err = p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "a"})
	refused(t, err, codes.NotFound)
	_, err = p.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: "a"})
	refused(t, err, codes.NotFound)
	_, err = p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{})
	refused(t, err, codes.InvalidArgument, "name")
	_, err = p.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{})
	refused(t, err, codes.InvalidArgument, "name")
	if again := p.put(route("a", "/a")); again.GetMeta().GetCreatedRevision() <= res.GetResult().GetVersion().GetRevision() {
		t.Errorf("written anew, it was created at %d", again.GetMeta().GetCreatedRevision())
	}
}

// Without the store, reads and writes are refused: nothing old is passed off
// as new, and of a write it is said that nobody knows.
func TestStoreUnavailable(t *testing.T) {
	st := mem.New()
	p := start(t, st)
	p.put(route("a", "/a"))
	st.SetAvailable(false)
	calls := map[string]func() error{
		"PutRoute": func() error {
			_, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("b", "/b")})
			return err
		},
		"DeleteRoute": func() error {
			_, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "a"})
			return err
		},
		"BatchDeleteRoutes": func() error {
			_, err := p.routes.BatchDeleteRoutes(bounded(t), &signalboxv1.BatchDeleteRoutesRequest{Names: []string{"a"}})
			return err
		},
		"GetRoute": func() error {
			_, err := p.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: "a"})
			return err
		},
		"ListRoutes": func() error {
			_, err := p.routes.ListRoutes(bounded(t), &signalboxv1.ListRoutesRequest{})
			return err
		},
		"ListNodes": func() error {
			_, err := p.wanted.ListNodes(bounded(t), &signalboxv1.ListNodesRequest{})
			return err
		},
		"GetApiKey": func() error {
			_, err := p.keys.GetApiKey(bounded(t), &signalboxv1.GetApiKeyRequest{Name: "bootstrap"})
			return err
		},
		"FollowEvents": func() error {
			stream, err := p.events.FollowEvents(bounded(t), &signalboxv1.FollowEventsRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) { refused(t, call(), codes.Unavailable) })
	}
	if err := calls["PutRoute"](); !strings.Contains(err.Error(), "not known whether") || reason(err) != "MAYBE_WRITTEN" {
		t.Errorf("a write: %v, want that its outcome is not known", err)
	}
	if err := calls["GetRoute"](); strings.Contains(err.Error(), "not known whether") || reason(err) != "NOTHING_WRITTEN" {
		t.Errorf("a read: %v", err)
	}
	st.SetAvailable(true)
	if err := calls["PutRoute"](); err != nil {
		t.Errorf("mended: %v", err)
	}
}

// reason is what an error's google.rpc.ErrorInfo gives.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "signalbox" {
			return info.GetReason()
		}
	}
	return ""
}

// A full store refuses writes, and says so.
func TestStoreFull(t *testing.T) {
	st := mem.New()
	p := start(t, st, failing(st, store.ErrFull))
	_, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("a", "/a")})
	refused(t, err, codes.ResourceExhausted)
	if got := reason(err); got != "NOTHING_WRITTEN" {
		t.Errorf("it gives the reason %q", got)
	}
}

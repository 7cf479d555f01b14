package api_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/api"
	"signalbox/controlplane/tally"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

// listed is the names of a list of routes, a page at a time.
func (p *plane) listed(req *signalboxv1.ListRoutesRequest) (names []string, pages int) {
	p.t.Helper()
	for {
		res, err := p.routes.ListRoutes(bounded(p.t), req)
		if err != nil {
			p.t.Fatal(err)
		}
		pages++
		for _, e := range res.GetRoutes() {
			names = append(names, e.GetRoute().GetName())
		}
		if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
			return names, pages
		}
	}
}

// Pages hold every route once, in order of their names.
func TestPages(t *testing.T) {
	p := start(t, mem.New())
	var want []string
	for _, name := range []string{"a", "a/b", "a0", "b", "b c", "z", "ü"} {
		p.put(route(name, "/"+name))
		want = append(want, name)
	}
	for size, pages := range map[int32]int{1: 7, 2: 4, 3: 3, 7: 1, 0: 1, 5000: 1} {
		got, n := p.listed(&signalboxv1.ListRoutesRequest{PageSize: size})
		if !slices.Equal(got, want) || n != pages {
			t.Errorf("pages of %d: %q on %d, want %q on %d", size, got, n, want, pages)
		}
	}
	res, err := p.routes.ListRoutes(bounded(t), &signalboxv1.ListRoutesRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	p.put(route("a/a", "/a/a"))
	if _, err := p.routes.DeleteRoute(bounded(t), &signalboxv1.DeleteRouteRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	got, _ := p.listed(&signalboxv1.ListRoutesRequest{PageToken: res.GetNextPageToken()})
	if want := append([]string{"a/a"}, want[1:]...); !slices.Equal(got, want) {
		t.Errorf("after changes the next pages hold %q, want %q", got, want)
	}
}

// A page ends before it is too large to be received.
func TestPagesAreBounded(t *testing.T) {
	p := start(t, mem.New())
	for i := range 30 {
		r := route(fmt.Sprintf("%02d", i), fmt.Sprint("/", i))
		r.Data = `{"x":"` + strings.Repeat("x", 250_000) + `"}`
		p.put(r)
	}
	if got, pages := p.listed(&signalboxv1.ListRoutesRequest{}); len(got) != 30 || pages < 4 {
		t.Errorf("%d routes on %d pages", len(got), pages)
	}
}

// All filters given must hold.
func TestFilters(t *testing.T) {
	book := tally.New(tally.Config{Log: quiet()})
	p := start(t, mem.New(), func(c *api.Config) { c.Totals = book })
	labelled := func(name string, labels map[string]string) *signalboxv1.Route {
		r := route(name, "/"+name)
		r.Labels = labels
		return p.put(r)
	}
	a := labelled("a/1", map[string]string{"team": "x", "tier": ""})
	labelled("a/2", map[string]string{"team": "y"})
	last := labelled("b/1", map[string]string{"team": "x=y"})
	active := time.Now().Add(time.Hour)
	book.Report("n", 1, []*signalboxv1.RouteReport{{
		Route: "a/1", CreatedRevision: a.GetMeta().GetCreatedRevision(),
		Counters: &signalboxv1.RouteCounters{Requests: 3}, LastActivity: timestamppb.New(active),
	}})
	for name, c := range map[string]struct {
		req  *signalboxv1.ListRoutesRequest
		want []string
	}{
		"nothing":                      {&signalboxv1.ListRoutesRequest{}, []string{"a/1", "a/2", "b/1"}},
		"a prefix":                     {&signalboxv1.ListRoutesRequest{NamePrefix: "a/"}, []string{"a/1", "a/2"}},
		"a label":                      {&signalboxv1.ListRoutesRequest{Labels: []string{"team=x"}}, []string{"a/1"}},
		"a label with an equals sign":  {&signalboxv1.ListRoutesRequest{Labels: []string{"team=x=y"}}, []string{"b/1"}},
		"a label's key":                {&signalboxv1.ListRoutesRequest{Labels: []string{"team"}}, []string{"a/1", "a/2", "b/1"}},
		"a label that is empty":        {&signalboxv1.ListRoutesRequest{Labels: []string{"tier="}}, []string{"a/1"}},
		"two labels":                   {&signalboxv1.ListRoutesRequest{Labels: []string{"team=y", "tier"}}, nil},
		"a match":                      {&signalboxv1.ListRoutesRequest{Match: &signalboxv1.Match{PathPrefix: "/a/2/"}}, []string{"a/2"}},
		"the match of every request":   {&signalboxv1.ListRoutesRequest{Match: &signalboxv1.Match{}}, nil},
		"a match under another prefix": {&signalboxv1.ListRoutesRequest{Match: &signalboxv1.Match{PathPrefix: "/a/2"}, NamePrefix: "b"}, nil},
		"a match on a later page":      {&signalboxv1.ListRoutesRequest{Match: &signalboxv1.Match{PathPrefix: "/a/2"}, PageToken: base64.RawURLEncoding.EncodeToString([]byte("a/2"))}, nil},
		"long ago":                     {&signalboxv1.ListRoutesRequest{InactiveSince: a.GetMeta().GetUpdateTime()}, nil},
		"written before the last":      {&signalboxv1.ListRoutesRequest{InactiveSince: last.GetMeta().GetUpdateTime()}, []string{"a/2"}},
		"in half an hour":              {&signalboxv1.ListRoutesRequest{InactiveSince: timestamppb.New(active.Add(-time.Minute))}, []string{"a/2", "b/1"}},
		"in two hours":                 {&signalboxv1.ListRoutesRequest{InactiveSince: timestamppb.New(active.Add(time.Hour))}, []string{"a/1", "a/2", "b/1"}},
	} {
		if got, _ := p.listed(c.req); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	res, err := p.routes.GetRoute(bounded(t), &signalboxv1.GetRouteRequest{Name: "a/1"})
	if o := res.GetObserved(); err != nil || o.GetCounters().GetRequests() != 3 || !o.GetLastActivity().AsTime().Equal(active) {
		t.Errorf("observed %v, %v", o, err)
	}
}

// What is wrong with a list's request is named by field.
func TestListRefuses(t *testing.T) {
	p := start(t, mem.New())
	for _, c := range []struct {
		req    *signalboxv1.ListRoutesRequest
		fields []string
	}{
		{&signalboxv1.ListRoutesRequest{PageSize: -1}, []string{"page_size"}},
		{&signalboxv1.ListRoutesRequest{PageSize: 5001}, []string{"page_size"}},
		{&signalboxv1.ListRoutesRequest{PageToken: "?"}, []string{"page_token"}},
		{&signalboxv1.ListRoutesRequest{Labels: []string{"a", "", "=b"}}, []string{"labels[1]", "labels[2]"}},
		{&signalboxv1.ListRoutesRequest{Match: &signalboxv1.Match{Host: "a:1"}}, []string{"match.host"}},
		{&signalboxv1.ListRoutesRequest{InactiveSince: &timestamppb.Timestamp{Nanos: -1}}, []string{"inactive_since"}},
	} {
		_, err := p.routes.ListRoutes(bounded(t), c.req)
		refused(t, err, codes.InvalidArgument, c.fields...)
	}
}

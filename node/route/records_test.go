package route_test

import (
	"fmt"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/route"
)

// record is a route to a server named like it.
func record(name string, created int64, host, prefix string) *signalboxv1.Route {
	return &signalboxv1.Route{
		Name:      name,
		Match:     &signalboxv1.Match{Host: host, PathPrefix: prefix},
		Upstreams: []*signalboxv1.Upstream{{Url: "http://127.0.0.1:8080"}},
		Meta:      &signalboxv1.Meta{Revision: created, CreatedRevision: created},
	}
}

// users are n records as a hub of users makes them, beside a root and a few
// that are deeper.
func users(n int) []*signalboxv1.Route {
	recs := []*signalboxv1.Route{
		record("root", 1, "", ""),
		record("user", 2, "", "/user"),
		record("deep", 3, "", "/user/name-000007/lab/tree"),
	}
	for i := range n {
		recs = append(recs, record(fmt.Sprintf("chp/user/name-%06d", i), int64(10+i), "", fmt.Sprintf("/user/name-%06d", i)))
	}
	return recs
}

// table is a table with the records, none of which may be refused.
func table(t testing.TB, recs ...*signalboxv1.Route) *route.Table {
	t.Helper()
	tab, change := route.New(route.Config{}).With(recs, nil)
	if len(change.Rejections) > 0 {
		t.Fatalf("rejected: %v", change.Rejections)
	}
	return tab
}

package api_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/api"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// many returns n routes.
func many(n int) []*signalboxv1.Route {
	all := make([]*signalboxv1.Route, n)
	for i := range all {
		all[i] = route(fmt.Sprintf("r%04d", i), fmt.Sprint("/r", i))
	}
	return all
}

func (p *plane) batch(routes []*signalboxv1.Route, split bool) (*signalboxv1.BatchPutRoutesResponse, error) {
	return p.routes.BatchPutRoutes(bounded(p.t), &signalboxv1.BatchPutRoutesRequest{Routes: routes, Split: split})
}

// names lists the names of routes.
func names(routes []*signalboxv1.Route) []string {
	all := make([]string, len(routes))
	for i, r := range routes {
		all[i] = r.GetName()
	}
	return all
}

// A batch is one transaction: all of it has one revision, and a bad route in
// it holds back all.
func TestBatchPut(t *testing.T) {
	p := start(t, mem.New())
	res, err := p.batch(many(63), false)
	if err != nil || res.GetWritten() != 63 || len(res.GetResult().GetPieces()) != 0 {
		t.Fatalf("BatchPutRoutes = %v, %v", res, err)
	}
	list, err := p.routes.ListRoutes(bounded(t), &signalboxv1.ListRoutesRequest{})
	if err != nil || len(list.GetRoutes()) != 63 {
		t.Fatalf("ListRoutes = %d, %v", len(list.GetRoutes()), err)
	}
	for _, e := range list.GetRoutes() {
		if got := e.GetRoute().GetMeta().GetRevision(); got != res.GetResult().GetVersion().GetRevision() {
			t.Errorf("%s is at %d, want %v", e.GetRoute().GetName(), got, res.GetResult().GetVersion())
		}
	}
	if res, err := p.batch(nil, false); err != nil || res.GetWritten() != 0 || res.GetResult().GetVersion() != nil {
		t.Errorf("an empty batch: %v, %v", res, err)
	}
}

// What is wrong with a batch is named by element and field; nothing of it is
// written.
func TestBatchPutRefuses(t *testing.T) {
	p := start(t, mem.New())
	p.put(route("other", "/taken"))
	bad := many(20)
	bad[17].Upstreams[0].Url = "ftp://x"
	bad[3] = nil
	bad[5].Name = bad[4].GetName()
	bad[7].Match.PathPrefix = bad[6].GetMatch().GetPathPrefix() + "/"
	for _, split := range []bool{false, true} {
		_, err := p.batch(bad, split)
		// A null in a list arrives as an empty message.
		refused(t, err, codes.InvalidArgument, "routes[3].name", "routes[3].upstreams", "routes[5].name", "routes[7].match", "routes[17].upstreams[0].url")
		taken := many(5)
		taken[2].Match.PathPrefix = "/taken"
		_, err = p.batch(taken, split)
		if status.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), `routes[2].match: route "other"`) {
			t.Errorf("a match that is taken: %v", err)
		}
	}
	if got, _ := p.listed(&signalboxv1.ListRoutesRequest{}); len(got) != 1 {
		t.Errorf("after refused batches there are %q", got)
	}
}

// A batch that no transaction holds is refused with the limit named, or split
// where that is allowed; then it is told the pieces.
func TestBatchPutSplit(t *testing.T) {
	p := start(t, mem.New())
	_, err := p.batch(many(64), false)
	refused(t, err, codes.InvalidArgument, "routes")
	for _, want := range []string{"63 new", "127", "split"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("a batch too large: %v, want it to say %q", err, want)
		}
	}
	res, err := p.batch(many(1000), true)
	if err != nil || res.GetWritten() != 1000 || len(res.GetResult().GetPieces()) != 16 {
		t.Fatalf("split: %d written in %d pieces, %v", res.GetWritten(), len(res.GetResult().GetPieces()), err)
	}
	if last := res.GetResult().GetPieces()[15]; last != res.GetResult().GetVersion().GetRevision() {
		t.Errorf("the version is %v, the last piece %d", res.GetResult().GetVersion(), last)
	}
	if res, err = p.batch(many(1000), true); err != nil || len(res.GetResult().GetPieces()) != 8 {
		t.Errorf("again, matches unchanged: %d pieces, %v", len(res.GetResult().GetPieces()), err)
	}
	if res, err := p.batch(many(127), false); err != nil || res.GetWritten() != 127 {
		t.Errorf("127 routes that keep their matches: %v", err)
	}
	moved := many(1000)
	for i, r := range moved {
		r.Match.PathPrefix = fmt.Sprint("/moved", i)
	}
	if res, err = p.batch(moved, true); err != nil || res.GetWritten() != 1000 {
		t.Errorf("all moved: %v", err)
	}
}

// A batch is split by size as well; a route that is too large even alone is
// named.
func TestBatchPutLarge(t *testing.T) {
	p := start(t, mem.New())
	large := many(10)
	for _, r := range large {
		r.Data = `{"x":"` + strings.Repeat("x", 240_000) + `"}`
	}
	_, err := p.batch(large, false)
	refused(t, err, codes.InvalidArgument, "routes")
	_, err = p.routes.BatchPutRoutes(bounded(t), &signalboxv1.BatchPutRoutesRequest{Routes: large, ValidateOnly: true})
	refused(t, err, codes.InvalidArgument, "routes")
	if res, err := p.batch(large, true); err != nil || res.GetWritten() != 10 {
		t.Errorf("split: %v, %v", res, err)
	}
	huge := many(3)
	for range 255 {
		huge[1].Upstreams = append(huge[1].Upstreams, &signalboxv1.Upstream{Url: "http://h/" + strings.Repeat("x", 8000)})
	}
	_, err = p.batch(huge, true)
	refused(t, err, codes.InvalidArgument, "routes[1]")
	if !strings.Contains(err.Error(), "of the routes 1 were written") {
		t.Errorf("midway: %v", err)
	}
}

// Routes of one batch may take each other's matches.
func TestBatchSwap(t *testing.T) {
	p := start(t, mem.New())
	p.put(route("a", "/a"))
	p.put(route("b", "/b"))
	p.put(route("c", "/c"))
	turned := []*signalboxv1.Route{route("a", "/b"), route("b", "/c"), route("c", "/a")}
	check := &signalboxv1.BatchPutRoutesRequest{Routes: turned, ValidateOnly: true}
	if res, err := p.routes.BatchPutRoutes(bounded(t), check); err != nil || res.GetWritten() != 0 {
		t.Errorf("validate_only: %v, %v", res, err)
	}
	if _, err := p.batch(turned, false); err != nil {
		t.Fatal(err)
	}
	if _, err := p.batch([]*signalboxv1.Route{route("a", "/d"), route("e", "/b")}, false); err != nil {
		t.Fatalf("a match given up and taken in one batch: %v", err)
	}
	_, err := p.routes.PutRoute(bounded(t), &signalboxv1.PutRouteRequest{Route: route("f", "/b")})
	if status.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), `"e"`) {
		t.Errorf("a match that was handed over: %v, want ALREADY_EXISTS naming e", err)
	}
	if _, err := p.routes.BatchDeleteRoutes(bounded(t), &signalboxv1.BatchDeleteRoutesRequest{Names: []string{"a", "b", "c", "e"}}); err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{"/a", "/b", "/c", "/d"} { // all free again
		p.put(route(fmt.Sprint("new", i), path))
	}
}

// Removing many skips those that are not there.
func TestBatchDelete(t *testing.T) {
	st := mem.New()
	p, other := start(t, st), start(t, st.Another())
	if _, err := p.batch(many(300), true); err != nil {
		t.Fatal(err)
	}
	remove := func(names []string, split, validateOnly bool) (*signalboxv1.BatchDeleteRoutesResponse, error) {
		return other.routes.BatchDeleteRoutes(bounded(t), &signalboxv1.BatchDeleteRoutesRequest{Names: names, Split: split, ValidateOnly: validateOnly})
	}
	all := names(many(400))
	_, err := remove(all, false, false)
	refused(t, err, codes.InvalidArgument, "names")
	_, err = remove([]string{"a", "", "a"}, false, false)
	refused(t, err, codes.InvalidArgument, "names[1]", "names[2]")
	if _, err := remove(all, true, true); err != nil {
		t.Errorf("validate_only: %v", err)
	}
	if res, err := remove(all[:10], false, false); err != nil || res.GetRemoved() != 10 {
		t.Errorf("ten: %v, %v", res, err)
	}
	res, err := remove(all, true, false)
	if err != nil || res.GetRemoved() != 290 || len(res.GetResult().GetPieces()) != 5 {
		t.Errorf("the others: %d in %d pieces, %v", res.GetRemoved(), len(res.GetResult().GetPieces()), err)
	}
	for _, split := range []bool{false, true} {
		if res, err = remove(all, split, false); err != nil || res.GetRemoved() != 0 || res.GetResult().GetVersion() != nil {
			t.Errorf("nothing left: %v, %v", res, err)
		}
	}
}

// A batchLimit is a store that fails after some writes.
type batchLimit struct {
	*mem.Keeper
	left int
}

func (b *batchLimit) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	if b.left--; b.left < 0 {
		return 0, fmt.Errorf("commit: %w", store.ErrUnavailable)
	}
	return b.Keeper.Commit(ctx, txn)
}

// When a piece fails, the error says how many routes were written.
func TestBatchMidway(t *testing.T) {
	st := mem.New()
	p := start(t, st, func(c *api.Config) { c.Store = &batchLimit{Keeper: st, left: 2} })
	_, err := p.batch(many(200), true)
	refused(t, err, codes.Unavailable)
	var reasons []string
	var info *errdetails.ErrorInfo
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			info = cmp.Or(info, i)
			reasons = append(reasons, i.GetReason())
		}
	}
	if !slices.Equal(reasons, []string{"PARTLY_WRITTEN", "MAYBE_WRITTEN"}) {
		t.Errorf("it gives the reasons %q", reasons)
	}
	if info.GetMetadata()["written"] != "126" || !strings.Contains(err.Error(), "of the routes 126 were written") {
		t.Errorf("midway: %v, %v", err, info)
	}
	if got, _ := p.listed(&signalboxv1.ListRoutesRequest{}); len(got) != 126 {
		t.Errorf("%d routes were written", len(got))
	}
}

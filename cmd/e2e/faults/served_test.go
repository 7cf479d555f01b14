//go:build e2e

package faults

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// storedAs fails unless every control plane has just these routes below a
// prefix.
func (l *lab) storedAs(ctx context.Context, prefix string, want map[string]string) error {
	for _, p := range l.of(plane) {
		res, err := l.routes(p).ListRoutes(ctx, &signalboxv1.ListRoutesRequest{NamePrefix: prefix, PageSize: 5000})
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		have := map[string]string{}
		for _, e := range res.GetRoutes() {
			have[e.GetRoute().GetName()] = valueOf(e.GetRoute().GetUpstreams()[0].GetUrl())
		}
		if !maps.Equal(have, want) {
			return fmt.Errorf("%s has %v, and the store's history comes to %v", p.name, have, want)
		}
	}
	return nil
}

// servedAs fails unless every node serves just these routes below a prefix.
func (l *lab) servedAs(ctx context.Context, prefix string, want map[string]string) error {
	for _, n := range l.of(node) {
		for i := range sharedRoutes {
			name := fmt.Sprintf("%s/%d", prefix, i)
			a, err := send(ctx, l.http, "GET", "http://"+n.name+":"+publicPort+"/"+name, "")
			if err != nil {
				return fmt.Errorf("%s through %s: %w", name, n.name, err)
			}
			// The upstream answers with its path: the value, then the request's.
			got, _, _ := strings.Cut(strings.TrimPrefix(a.body, "/"), "/")
			if want[name] == "" && a.status != http.StatusNotFound || want[name] != "" && (a.status != http.StatusOK || got != want[name]) {
				return fmt.Errorf("%s through %s is %d %q, want %q", name, n.name, a.status, got, want[name])
			}
		}
	}
	return nil
}

// requestsOf is how many requests a route has had, as a control plane says.
func (l *lab) requestsOf(ctx context.Context, p *part, route string) (int, error) {
	res, err := l.routes(p).GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: route})
	return int(res.GetObserved().GetCounters().GetRequests()), err
}

// A tally is what was asked of a route, as far as clients know.
type tally struct {
	begun, answered int
	// unreported is how much of it nodes took with them that died, at most.
	unreported int
}

// counted fails unless all control planes have counted what was asked of a
// route: all that was answered, but for what may be missing, and never more than
// was asked. It returns what they say.
func (l *lab) counted(ctx context.Context, route string, of tally) (string, error) {
	var seen []int
	for _, p := range l.of(plane) {
		n, err := l.requestsOf(ctx, p, route)
		if err != nil {
			return "?", fmt.Errorf("%s: %w", p.name, err)
		}
		if n > of.begun {
			return "too many", fmt.Errorf("%s counts %d requests, and %d were made", p.name, n, of.begun)
		}
		if n < of.answered-of.unreported {
			return "too few", fmt.Errorf("%s counts %d requests, and %d were answered, of which %d may be missing", p.name, n, of.answered, of.unreported)
		}
		seen = append(seen, n)
	}
	if seen[0] != seen[1] {
		return "differ", fmt.Errorf("control planes count %v", seen)
	}
	if seen[0] < of.answered {
		return fmt.Sprintf("-%d, at most -%d", of.answered-seen[0], of.unreported), nil
	}
	return "equal", nil
}

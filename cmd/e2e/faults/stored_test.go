//go:build e2e

package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/cmd/e2e/history"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// routesIn is where etcd has routes; see ARCHITECTURE.md.
const routesIn = "/signalbox/v1/route/"

// A change is what etcd's own history has of a route: a value that was
// written, or none when it was removed.
type change struct {
	rev   int64
	route string
	value string
}

// storeRevision is etcd's revision now.
func (l *lab) storeRevision(ctx context.Context) (int64, error) {
	res, err := l.store.Get(ctx, "any", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return res.Header.GetRevision(), nil
}

// changes is etcd's history of the routes whose names have a prefix, after one
// revision and up to another.
func (l *lab) changes(ctx context.Context, prefix string, after, now int64) ([]change, error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	watch := l.store.Watch(ctx, routesIn+prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1), clientv3.WithProgressNotify())
	var all []change
	for {
		if err := l.store.RequestProgress(ctx); err != nil {
			return nil, err
		}
		select {
		case res, ok := <-watch:
			if err := res.Err(); err != nil || !ok {
				return nil, fmt.Errorf("etcd's history after %d: %w", after, err)
			}
			for _, e := range res.Events {
				c := change{rev: e.Kv.ModRevision, route: strings.TrimPrefix(string(e.Kv.Key), routesIn)}
				if e.Type == clientv3.EventTypePut {
					r, err := store.Decode(store.Key{Kind: "route", Name: c.route}, e.Kv.Value, 0, 0)
					if err != nil {
						return nil, err
					}
					c.value = valueOf(r.Message.(*signalboxv1.Route).GetUpstreams()[0].GetUrl())
				}
				all = append(all, c)
			}
			if res.Header.Revision >= now && res.IsProgressNotify() {
				return slices.DeleteFunc(all, func(c change) bool { return c.rev > now }), nil
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// A verdict is what the store's history says of what clients were told.
type verdict struct {
	lost    []string // acknowledged, and not done
	applied []string // refused, and done; or done twice
}

// judge holds what clients were told against what the store did.
func judge(ops []history.Operation, done []change) verdict {
	var v verdict
	puts := map[string][]int64{}   // revisions by value
	removals := map[int64]string{} // route by revision
	for _, c := range done {
		if c.value != "" {
			puts[c.value] = append(puts[c.value], c.rev)
		} else {
			removals[c.rev] = c.route
		}
	}
	written := map[string]bool{}
	for _, o := range ops {
		if o.Kind == history.Get {
			continue
		}
		written[o.Value] = true
		at := puts[o.Value]
		switch o.Outcome {
		case history.Done:
			if o.Kind == history.Put && !slices.Contains(at, o.Revision) || o.Kind == history.Delete && removals[o.Revision] != o.Route {
				v.lost = append(v.lost, o.Route+": "+o.String())
			}
		case history.Unknown:
		default:
			if len(at) > 0 {
				v.applied = append(v.applied, o.Route+": "+o.String()+fmt.Sprintf(", and was done at %v", at))
			}
		}
		if len(at) > 1 {
			v.applied = append(v.applied, o.Route+": "+o.String()+fmt.Sprintf(", and was done %d times, at %v", len(at), at))
		}
	}
	v.applied = append(v.applied, unasked(ops, removals)...)
	for value := range puts {
		if !written[value] {
			v.applied = append(v.applied, "nobody wrote "+value)
		}
	}
	return v
}

// outcomes counts writes by how they were answered.
func outcomes(ops []history.Operation) (acked, refused, unknown int) {
	for _, o := range ops {
		switch {
		case o.Kind == history.Get:
		case o.Outcome == history.Done:
			acked++
		case o.Outcome == history.Refused:
			refused++
		case o.Outcome == history.Unknown:
			unknown++
		}
	}
	return acked, refused, unknown
}

// unasked are removals that no delete which was done accounts for, beyond those
// whose outcome is unknown.
func unasked(ops []history.Operation, removals map[int64]string) []string {
	left, open := maps.Clone(removals), map[string]int{}
	for _, o := range ops {
		if o.Kind == history.Delete && o.Outcome == history.Done {
			delete(left, o.Revision)
		}
		if o.Kind == history.Delete && o.Outcome == history.Unknown {
			open[o.Route]++
		}
	}
	var extra []string
	for rev, route := range left {
		if open[route]--; open[route] < 0 {
			extra = append(extra, fmt.Sprintf("%s was removed at %d, and nobody was told", route, rev))
		}
	}
	return extra
}

// newest is what the routes come to by a history.
func newest(done []change) map[string]string {
	routes := map[string]string{}
	for _, c := range done {
		routes[c.route] = c.value
		if c.value == "" {
			delete(routes, c.route)
		}
	}
	return routes
}

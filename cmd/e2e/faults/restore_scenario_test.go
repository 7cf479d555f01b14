//go:build e2e

package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/cmd/e2e/history"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A restored store has two histories: the one up to the moment at which its
// members were stopped, and the one that goes on from the backup. Times are
// those of the recorder.
type restored struct {
	old                    []change
	taken, ended, returned time.Duration // before the backup, when old was read, when all members had stopped
	base                   []history.Operation
}

// restoredStore puts back a backup while everybody writes, by the documented
// steps. All that was acknowledged before the backup is there; what was
// acknowledged after it, up to the restore, is lost, and may be.
func restoredStore() scenario {
	return scenario{name: "the store is restored from a backup", do: func(ctx context.Context, r *run) {
		pause(ctx, hold)
		h := &restored{taken: r.writers.since()}
		backup, err := r.operate(r.of(plane)[0], nil, "backup", "-")
		if err != nil {
			r.Fatal(err)
		}
		pause(ctx, hold/2)
		h.ended = r.writers.since()
		r.collect(ctx)
		h.old = r.done
		again := r.writers.nobodyCan()
		for _, p := range r.of(member) {
			r.signal(r, p, syscall.SIGTERM)
		}
		h.returned = r.writers.since()
		was, from := r.putBack([]byte(backup))
		again()
		h.begin(ctx, r, was, from)
		r.whole(ctx, r)
	}}
}

// putBack makes members of a backup and starts them. It returns etcd's revision
// in the backup, and the one after which the new history begins.
func (r *run) putBack(backup []byte) (was, from int64) {
	r.Helper()
	token := fmt.Sprint("restored-", time.Now().Unix()) // the same for all
	for i, p := range r.of(member) {
		at := r.state(p) + "-restored"
		peer := strings.TrimPrefix(strings.Split(r.members, ",")[i], p.name+"=")
		out, err := r.operate(p, backup, "restore", dataFile, "--data-dir", at, "--name", p.name,
			"--advertise-peer", peer, "--initial-cluster", r.members, "--cluster-token", token)
		if err != nil {
			r.Fatal(out, err)
		}
		_, said, _ := strings.Cut(out, "revision was ")
		if _, err := fmt.Sscanf(said, "%d and goes on from %d", &was, &from); err != nil {
			r.Fatalf("restore says no revisions: %q", out)
		}
	}
	for _, p := range r.of(member) {
		r.start(r, p, release{env: []string{"SIGNALBOX_DATA_DIR=" + r.state(p) + "-restored"}})
	}
	return was, from
}

// begin reads what the new history begins with, and holds it against the old
// one as it was at the backup.
func (h *restored) begin(ctx context.Context, r *run, was, from int64) {
	r.Helper()
	kept := slices.DeleteFunc(slices.Clone(h.old), func(c change) bool { return c.rev > was })
	have := map[string]string{}
	eventually(ctx, r, "what the restored store has", func(ctx context.Context) (err error) {
		have, h.base, err = r.stateAt(ctx, r.prefix+"/", from)
		return err
	})
	if want := newest(kept); !maps.Equal(have, want) {
		r.Errorf("the restored store has %v, and at the backup it was %v", have, want)
	}
	for _, o := range r.writers.record.Operations() {
		if o.Kind != history.Get && o.Outcome == history.Done && o.Ended < h.taken && o.Revision > was {
			r.Errorf("an acknowledged write is not in a backup that was taken after it: %s: %s", o.Route, o)
		}
	}
	r.Logf("between the backup and the restore %d writes were made, which are lost, as they may be", len(h.old)-len(kept))
	r.restored, r.done, r.before = h, nil, from
	for _, o := range h.base {
		r.done = append(r.done, change{rev: o.Revision, route: o.Route, value: o.Value})
	}
}

// stateAt is what etcd has below a prefix at a revision, by route; and what
// would have come to it.
func (l *lab) stateAt(ctx context.Context, prefix string, rev int64) (map[string]string, []history.Operation, error) {
	res, err := l.store.Get(ctx, routesIn+prefix, clientv3.WithPrefix(), clientv3.WithRev(rev))
	if err != nil {
		return nil, nil, err
	}
	state, ops := map[string]string{}, []history.Operation(nil)
	for _, kv := range res.Kvs {
		name := strings.TrimPrefix(string(kv.Key), routesIn)
		r, err := store.Decode(store.Key{Kind: "route", Name: name}, kv.Value, 0, 0)
		if err != nil {
			return nil, nil, err
		}
		state[name] = valueOf(r.Message.(*signalboxv1.Route).GetUpstreams()[0].GetUrl())
		put := history.Operation{Call: history.Call{Kind: history.Put, Route: name, Value: "created/" + name, Expected: history.Any}}
		put.Answer = history.Answer{Outcome: history.Done, Revision: kv.CreateRevision, Created: kv.CreateRevision}
		if kv.CreateRevision < kv.ModRevision {
			ops = append(ops, put)
		}
		put.Value, put.Revision, put.Began, put.Ended = state[name], kv.ModRevision, 1, 1
		ops = append(ops, put)
	}
	return state, ops, nil
}

// A part of a history: what clients were told, and what the store did.
type told struct {
	ops  []history.Operation
	done []change
}

// told are the histories that the store has had.
func (r *run) told(all []history.Operation) []told {
	h := r.restored
	if h == nil {
		return []told{{all, r.done}}
	}
	before, after := told{done: h.old}, told{ops: h.base, done: r.done}
	for _, o := range all {
		open := o
		open.Answer = history.Answer{Outcome: history.Unknown}
		switch {
		case o.Ended < h.ended:
			before.ops = append(before.ops, o)
		case o.Began > h.returned:
			after.ops = append(after.ops, o)
		default: // in which of them nobody can say
			before.ops, after.ops = append(before.ops, open), append(after.ops, open)
		}
	}
	return []told{before, after}
}

package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
	"signalbox/store/mem"
	"signalbox/store/storetest"
)

// Whatever is done, in whatever order, the two keepers answer the same. Their
// revisions differ; what is compared are their ranks: the n-th commit's is n.
func TestBothKeepersAnswerTheSame(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		k, err := m.Keeper(etcd.Config{Prefix: fmt.Sprint("/", n)})
		if err != nil {
			rt.Fatal(err)
		}
		mk := mem.New()
		a, b := newSide(rt, k), newSide(rt, mk)
		defer a.stop()
		defer b.stop()
		both := func(rt *rapid.T, what string, do func(*side) string) {
			if x, y := do(a), do(b); x != y {
				rt.Fatalf("%s: etcd says\n%s\nand mem says\n%s", what, x, y)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				txn := genTxn(rt, len(a.revs))
				both(rt, "commit", func(s *side) string { return s.commit(txn) })
			},
			"commit again": func(rt *rapid.T) { // more often than the other actions
				txn := genTxn(rt, len(a.revs))
				both(rt, "commit", func(s *side) string { return s.commit(txn) })
			},
			"read": func(rt *rapid.T) {
				keys := rapid.SliceOf(genKey).Draw(rt, "keys")
				both(rt, "read", func(s *side) string { return s.read(keys) })
			},
			"follow": func(rt *rapid.T) {
				both(rt, "follow", (*side).whole)
			},
			"notes": func(rt *rapid.T) { // move no version
				name := rapid.StringMatching("[ab]").Draw(rt, "note")
				both(rt, "notes", func(s *side) string { return s.note(name) })
			},
			"compact": func(*rapid.T) {
				_, _ = m.Client().Compact(t.Context(), int64(a.revs[len(a.revs)-1]))
				mk.Compact()
			},
		})
	})
}

// abstract is a transaction with ranks for revisions.
type abstract struct {
	txn   store.Txn
	ranks []int // of the conditions
}

var (
	genName = rapid.SampledFrom([]string{"a", "b", "a/b", "ü %"})
	genKey  = rapid.Map(genName, func(name string) store.Key { return store.Key{Kind: store.KindRoute, Name: name} })
	genTo   = rapid.StringMatching("[0-9]")
	genText = rapid.SampledFrom([]string{"x", "x/y", "z"})
)

// genTxn draws a transaction; ranks is how many revisions there are.
func genTxn(rt *rapid.T, ranks int) abstract {
	var a abstract
	for _, key := range rapid.SliceOfN(genKey, 0, 2).Draw(rt, "if") {
		a.txn.If = append(a.txn.If, store.Condition{Key: key})
		// The newest ranks are those that may hold.
		a.ranks = append(a.ranks, max(0, ranks-1-rapid.IntRange(0, 6).Draw(rt, "rank")))
	}
	for _, name := range rapid.SliceOfN(genName, 0, 3).Draw(rt, "put") {
		a.txn.Put = append(a.txn.Put, storetest.Route(name, genTo.Draw(rt, "to")))
	}
	a.txn.Delete = rapid.SliceOfN(genKey, 0, 2).Draw(rt, "delete")
	for _, name := range rapid.SliceOfN(genText, 0, 1).Draw(rt, "claim") {
		a.txn.Claim = append(a.txn.Claim, store.Claim{Name: name, Holder: genKey.Draw(rt, "holder")})
	}
	a.txn.Release = rapid.SliceOfN(genText, 0, 1).Draw(rt, "release")
	return a
}

// A side is one of the keepers, with a follower.
type side struct {
	rt *rapid.T
	k  storetest.Keeper
	// revs are the revisions by rank; the first is that of the empty store.
	revs    []store.Revision
	changes chan store.Change
	cancel  context.CancelFunc
	done    chan struct{}
}

func newSide(rt *rapid.T, k storetest.Keeper) *side {
	s := &side{rt: rt, k: k, changes: make(chan store.Change, 1000), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		_ = k.Follow(ctx, func(c store.Change) error {
			s.changes <- c
			return nil
		})
	}()
	s.revs = []store.Revision{(<-s.changes).Version.Revision}
	return s
}

func (s *side) stop() {
	s.cancel()
	<-s.done
}

// commit commits, and says what came of it, for the caller and for followers.
func (s *side) commit(a abstract) string {
	txn := a.txn
	txn.If = slices.Clone(txn.If)
	for i, rank := range a.ranks {
		if rank > 0 {
			txn.If[i].Modified = s.revs[rank]
		}
	}
	rev, err := s.k.Commit(context.Background(), txn)
	var conflict *store.ConflictError
	switch {
	case errors.As(err, &conflict):
		return fmt.Sprintf("conflict %s at %s, claim %q", conflict.Key, s.rank(conflict.Modified), conflict.Claim)
	case err != nil:
		return err.Error()
	}
	s.revs = append(s.revs, rev)
	return s.change(<-s.changes)
}

func (s *side) read(keys []store.Key) string {
	found, v, err := s.k.Read(context.Background(), keys...)
	if err != nil {
		return err.Error()
	}
	h, err := s.k.Head(context.Background())
	text := fmt.Sprint(s.rank(v.Revision), h == v, err)
	for _, r := range found {
		if r == nil {
			text += " none"
		} else {
			text += " " + s.record(*r)
		}
	}
	return text
}

// whole says what somebody is given who begins to follow.
func (s *side) whole() string {
	seen := errors.New("seen")
	text := ""
	err := s.k.Follow(context.Background(), func(c store.Change) error {
		text = s.change(c)
		return seen
	})
	return text + fmt.Sprint(err)
}

func (s *side) note(name string) string {
	return fmt.Sprint(s.k.PutNotes(context.Background(), []store.Note{{Name: name}}, nil))
}

func (s *side) change(c store.Change) string {
	text := fmt.Sprintf("whole %t at %s, gone %v, unreadable %v, put", c.Whole, s.rank(c.Version.Revision), c.Delete, c.Unreadable)
	for _, r := range c.Put {
		text += " " + s.record(r)
	}
	return text
}

func (s *side) record(r store.Record) string {
	m := r.Message.(*signalboxv1.Route)
	return fmt.Sprintf("%s=%s(%s,%s)", r.Key, strings.TrimPrefix(m.GetUpstreams()[0].GetUrl(), "http://"), s.rank(r.Created), s.rank(r.Modified))
}

// rank is a revision's, if it has one.
func (s *side) rank(rev store.Revision) string {
	if i := slices.Index(s.revs, rev); i >= 0 {
		return fmt.Sprint("#", i)
	}
	return fmt.Sprint(rev)
}

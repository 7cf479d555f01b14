package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"signalbox/store"
)

// following is what Follow promises while all is well.
var following = []promise{
	{"a follower is given the whole state first, in order of keys", func(t *testing.T, s Subject) {
		if c := whole(follow(t, s)); c.Version != head(t, s) || len(c.Put) != 0 {
			t.Errorf("an empty store is followed as %+v; head is %+v", c, head(t, s))
		}
		node := store.Record{Key: store.Key{Kind: store.KindNode, Name: "a"}, Message: nodeMessage("a")}
		commit(t, s, put(Route("b", "one"), node, Route("a/b", "one"), Route("a", "one"), Route("a b", "one")))
		c := whole(follow(t, s))
		if c.Version != head(t, s) || len(c.Put) != 5 || !slices.IsSortedFunc(c.Put, func(a, b store.Record) int { return a.Key.Compare(b.Key) }) {
			t.Errorf("the whole is %+v", c)
		}
		for _, r := range c.Put {
			if found, _, err := s.Read(within(t), r.Key); err != nil || !same(*found[0], r) {
				t.Errorf("followed %v, read %v, %v", r, found[0], err)
			}
		}
	}},
	{"one transaction is one change, at its revision", func(t *testing.T, s Subject) {
		first := commit(t, s, put(Route("a", "one"), Route("b", "one")))
		f := follow(t, s)
		whole(f)
		rev := commit(t, s.Other, store.Txn{
			Put:    []store.Record{Route("a", "two"), Route("c", "two")},
			Delete: []store.Key{key("b"), key("nothing")},
		})
		c := step(f)
		if c.Version != head(t, s) || c.Version.Revision != rev || len(c.Put) != 2 || !slices.Equal(c.Delete, []store.Key{key("b")}) {
			t.Fatalf("the change is %+v, committed at %d", c, rev)
		}
		if r := c.Put[0]; r.Key != key("a") || r.Created != first || r.Modified != rev || target(&r) != "two" {
			t.Errorf("put %v", r)
		}
		if r := c.Put[1]; r.Key != key("c") || r.Created != rev || r.Modified != rev {
			t.Errorf("put %v", r)
		}
	}},
	{"a transaction that deleted only what was not there is a change", func(t *testing.T, s Subject) {
		f := follow(t, s)
		whole(f)
		rev := commit(t, s, store.Txn{Delete: []store.Key{key("a")}})
		if c := step(f); c.Version.Revision != rev || len(c.Put)+len(c.Delete) != 0 {
			t.Errorf("got %+v, want an empty change at %d", c, rev)
		}
		if v := head(t, s); v.Revision != rev {
			t.Errorf("head is %+v, want %d", v, rev)
		}
	}},
	{"every change comes once and in order, whoever writes", func(t *testing.T, s Subject) {
		const writers, writes = 4, 25
		f := follow(t, s)
		whole(f)
		var (
			wg  sync.WaitGroup
			mu  sync.Mutex
			all = map[store.Revision]string{}
		)
		for i := range writers {
			wg.Go(func() {
				for j := range writes {
					to := fmt.Sprint(i, "-", j)
					rev, err := []Keeper{s.Keeper, s.Other}[i%2].Commit(within(t), put(Route("a", to)))
					if err != nil {
						t.Errorf("commit: %v", err)
						return
					}
					mu.Lock()
					all[rev] = to
					mu.Unlock()
				}
			})
		}
		seen := map[store.Revision]string{}
		var last store.Revision
		for range writers * writes {
			c := step(f)
			if c.Version.Revision <= last || len(c.Put) != 1 {
				t.Fatalf("after revision %d came %+v", last, c)
			}
			last = c.Version.Revision
			seen[last] = target(&c.Put[0])
		}
		wg.Wait()
		if !maps.Equal(seen, all) {
			t.Errorf("seen %v, want %v", seen, all)
		}
	}},
	{"followers that begin while others write all end up with the same", func(t *testing.T, s Subject) {
		var wg sync.WaitGroup
		var last store.Revision
		wg.Go(func() {
			for i := range 60 {
				txn := put(Route(fmt.Sprint(i%7), fmt.Sprint(i)), Route("last", fmt.Sprint(i)))
				if i%3 == 0 {
					txn.Delete = []store.Key{key(fmt.Sprint((i + 1) % 7))}
				}
				rev, err := s.Commit(within(t), txn)
				if err != nil {
					t.Errorf("commit: %v", err)
				}
				last = rev
			}
		})
		var followers []*follower[store.Change]
		states := make([]state, 6)
		for i := range states {
			f := follow(t, []Keeper{s.Keeper, s.Other}[i%2])
			states[i].apply(whole(f))
			followers = append(followers, f)
		}
		wg.Wait()
		for i := range states {
			states[i].reach(followers[i], last)
			if got, want := states[i].targets(), states[0].targets(); !maps.Equal(got, want) || want["last"] != "59" {
				t.Errorf("one follower has %v, another %v", got, want)
			}
		}
	}},
	{"a follower who has seen head has seen all that was committed", func(t *testing.T, s Subject) {
		f := follow(t, s)
		var st state
		st.apply(whole(f))
		for i := range 20 {
			commit(t, s.Other, put(Route("a", fmt.Sprint(i))))
			st.reach(f, head(t, s).Revision)
			if got := st.targets()["a"]; got != fmt.Sprint(i) {
				t.Fatalf("at head the follower has %q, want %d", got, i)
			}
		}
	}},
	{"notes move nobody's version", func(t *testing.T, s Subject) {
		commit(t, s, put(Route("a", "one")))
		before := head(t, s)
		f := follow(t, s)
		whole(f)
		for i := range 5 {
			putNotes(t, s, note("n", fmt.Sprint(i)))
		}
		if after := head(t, s); after != before {
			t.Errorf("head was %+v, is %+v", before, after)
		}
		if c := whole(follow(t, s.Other)); c.Version != before {
			t.Errorf("a new follower starts at %+v, want %+v", c.Version, before)
		}
		if _, v, err := s.Read(within(t), key("a")); err != nil || v != before {
			t.Errorf("read at %+v, %v, want %+v", v, err, before)
		}
		rev := commit(t, s, put(Route("a", "two")))
		if c := step(f); c.Version.Revision != rev {
			t.Errorf("the next change is %+v, want revision %d", c, rev)
		}
	}},
	{"follow ends with ctx's cause, or with apply's error", func(t *testing.T, s Subject) {
		f := follow(t, s)
		whole(f)
		if err := f.end(); !errors.Is(err, errStopped) {
			t.Errorf("got %v, want ctx's cause", err)
		}
		refused := errors.New("refused")
		for i := range 2 { // the whole state, and a change
			err := s.Follow(within(t), func(c store.Change) error {
				if c.Whole && i == 1 {
					commit(t, s, put(Route("a", "one")))
					return nil
				}
				return refused
			})
			if !errors.Is(err, refused) {
				t.Errorf("got %v, want apply's error", err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errStopped)
		if err := s.Follow(ctx, func(store.Change) error { return nil }); !errors.Is(err, errStopped) {
			t.Errorf("got %v, want the cause of a ctx that had ended", err)
		}
	}},
	{"a record that cannot be decoded is left out and named", func(t *testing.T, s Subject) {
		commit(t, s, put(Route("a", "one"), Route("b", "one")))
		f := follow(t, s)
		whole(f)
		s.PutRaw(t, key("a"), []byte("\xff\xff\xff"))
		c := step(f)
		if len(c.Put) != 0 || len(c.Unreadable) != 1 || c.Unreadable[0].Key != key("a") ||
			c.Unreadable[0].Err == nil || !slices.Equal(c.Delete, []store.Key{key("a")}) {
			t.Errorf("the change is %+v", c)
		}
		all := whole(follow(t, s))
		if len(all.Put) != 1 || all.Put[0].Key != key("b") || len(all.Unreadable) != 1 || all.Unreadable[0].Key != key("a") {
			t.Errorf("the whole is %+v", all)
		}
		if r := read(t, s, "a"); r != nil {
			t.Errorf("read %v", r)
		}
		rev := commit(t, s, put(Route("a", "two")))
		if c := step(f); c.Version.Revision != rev || len(c.Put) != 1 || target(&c.Put[0]) != "two" {
			t.Errorf("after it was mended: %+v", c)
		}
	}},
	{"a kind from a later version is left out and named", func(t *testing.T, s Subject) {
		f := follow(t, s)
		whole(f)
		later := store.Key{Kind: "train", Name: "x"}
		s.PutRaw(t, later, nil)
		if c := step(f); len(c.Unreadable) != 1 || c.Unreadable[0].Key != later {
			t.Errorf("the change is %+v", c)
		}
	}},
}

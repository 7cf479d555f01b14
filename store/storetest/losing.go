package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"signalbox/store"
)

// losing is what is promised when history or the keeper is gone.
var losing = []promise{
	{"a follower who was too slow for what is kept is given a whole state", func(t *testing.T, s Subject) {
		commit(t, s, put(Route("a", "one"), Route("b", "one")))
		f := follow(t, s)
		var st state
		st.apply(whole(f))
		s.Cut(t)
		for i := range 50 {
			commit(t, s.Other, put(Route(fmt.Sprint(i%3), fmt.Sprint(i))))
		}
		commit(t, s.Other, store.Txn{Delete: []store.Key{key("a")}})
		s.Compact(t)
		last := commit(t, s.Other, put(Route("b", "two")))
		s.Mend(t)

		st.reach(f, last)
		want := map[string]string{"0": "48", "1": "49", "2": "47", "b": "two"}
		if got := st.targets(); !maps.Equal(got, want) {
			t.Errorf("the follower has %v, want %v", got, want)
		}
		if v := head(t, s); st.version != v {
			t.Errorf("the follower is at %+v, head is %+v", st.version, v)
		}
		rev := commit(t, s, put(Route("c", "one")))
		if c := step(f); c.Version.Revision != rev {
			t.Errorf("the next change is %+v, want revision %d", c, rev)
		}
	}},
	{"a follower who has seen everything does not notice a compaction", func(t *testing.T, s Subject) {
		commit(t, s, put(Route("a", "one")))
		f := follow(t, s)
		whole(f)
		for i := range 3 {
			putNotes(t, s, note("n", fmt.Sprint(i)))
			s.Compact(t)
			rev := commit(t, s, put(Route("a", fmt.Sprint(i))))
			if c := step(f); c.Version.Revision != rev {
				t.Fatalf("the next change is %+v, want revision %d", c, rev)
			}
		}
	}},
	{"a store cut off says so, writes nothing, and stalls its followers", func(t *testing.T, s Subject) {
		before := commit(t, s, put(Route("a", "one")))
		f, notes := follow(t, s), followNotes(t, s, "")
		whole(f)
		wholeNotes(notes)
		s.Cut(t)

		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := s.Commit(ctx, put(Route("a", "lost")))
		wantUnavailable(t, "commit", err)
		_, err = s.Head(ctx)
		wantUnavailable(t, "head", err)
		_, _, err = s.Read(ctx, key("a"))
		wantUnavailable(t, "read", err)
		wantUnavailable(t, "put notes", s.PutNotes(ctx, []store.Note{note("n", "lost")}, nil))
		_, err = s.Session(ctx, time.Second)
		wantUnavailable(t, "session", err)

		if v := head(t, s.Other); v.Revision != before {
			t.Errorf("head is %+v, want %d", v, before)
		}
		rev := commit(t, s.Other, put(Route("a", "two")))
		putNotes(t, s.Other, note("n", "two"))
		s.Mend(t)
		if c := step(f); c.Version.Revision != rev || target(&c.Put[0]) != "two" {
			t.Errorf("after the cut came %+v", c)
		}
		if c := notes.next(); len(c.Put) != 1 || string(c.Put[0].Value) != "two" {
			t.Errorf("after the cut came %+v", c)
		}
		if v := head(t, s); v.Revision != rev {
			t.Errorf("head is %+v, want %d", v, rev)
		}
	}},
	{"a follower who begins while the store is cut off waits for it", func(t *testing.T, s Subject) {
		rev := commit(t, s, put(Route("a", "one")))
		s.Cut(t)
		f := follow(t, s)
		s.Mend(t)
		if c := whole(f); c.Version.Revision != rev {
			t.Errorf("got %+v, want the state at %d", c, rev)
		}
	}},
	{"a caller who gives up is told that it may have been written, and why", func(t *testing.T, s Subject) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errStopped)
		_, err := s.Commit(ctx, put(Route("a", "one")))
		if wantUnavailable(t, "commit", err); !errors.Is(err, errStopped) {
			t.Errorf("commit: %v does not hold ctx's cause", err)
		}
		_, err = s.Head(ctx)
		if wantUnavailable(t, "head", err); !errors.Is(err, errStopped) {
			t.Errorf("head: %v does not hold ctx's cause", err)
		}
	}},
}

// wantUnavailable checks that a call failed, and that it says so.
func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%s: got %v, want ErrUnavailable", what, err)
	}
}

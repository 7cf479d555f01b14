package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"signalbox/store"
)

// A lease that is meant to last outlives any test; one that is meant to run
// out is as short as leases can be.
const (
	long  = time.Minute
	short = time.Second
)

// leasing is what sessions promise.
var leasing = []promise{
	{"what a session wrote vanishes when it is closed", func(t *testing.T, s Subject) {
		a := session(t, s, long)
		f := followNotes(t, s.Other, "")
		wholeNotes(f)
		say(t, a, "x", "one")
		if c := f.next(); !slices.Equal(texts(c.Put), []string{"x=one"}) {
			t.Fatalf("got %+v", c)
		}
		say(t, a, "y", "one")
		f.next()
		select {
		case <-a.Lost():
			t.Fatal("the session is lost while it is kept up")
		default:
		}
		if err := a.Close(within(t)); err != nil {
			t.Fatalf("close: %v", err)
		}
		wait(t, a.Lost(), "lost after close")
		if c := f.next(); !slices.Equal(slices.Sorted(slices.Values(c.Gone)), []string{"x", "y"}) {
			t.Errorf("after close: %+v", c)
		}
		if err := a.Close(within(t)); err != nil {
			t.Errorf("closing again: %v", err)
		}
	}},
	{"a note taken over stays when its first holder goes", func(t *testing.T, s Subject) {
		a, b := session(t, s, long), session(t, s.Other, long)
		say(t, a, "x", "a")
		say(t, b, "x", "b")
		f := followNotes(t, s, "")
		if c := wholeNotes(f); !slices.Equal(texts(c.Put), []string{"x=b"}) {
			t.Fatalf("got %+v", c)
		}
		if err := a.Remove(within(t), "x"); err != nil { // is not a's any more
			t.Fatal(err)
		}
		say(t, a, "y", "a")
		f.next()
		if err := a.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		if c := f.next(); !slices.Equal(c.Gone, []string{"y"}) {
			t.Errorf("with the first holder went %+v", c)
		}
		if err := b.Remove(within(t), "x"); err != nil {
			t.Fatal(err)
		}
		if c := f.next(); !slices.Equal(c.Gone, []string{"x"}) {
			t.Errorf("its holder removed %+v", c)
		}
	}},
	{"a note written to stay outlives the session it is taken from", func(t *testing.T, s Subject) {
		a := session(t, s, long)
		say(t, a, "x", "a")
		say(t, a, "y", "a")
		putNotes(t, s.Other, note("x", "stays"))
		if err := a.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		if c := wholeNotes(followNotes(t, s, "")); !slices.Equal(texts(c.Put), []string{"x=stays"}) {
			t.Errorf("left is %v", texts(c.Put))
		}
	}},
	{"a session lasts for longer than its time to live", func(t *testing.T, s Subject) {
		a := session(t, s, 2*short)
		say(t, a, "x", "one")
		timer := time.NewTimer(3 * short)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-a.Lost():
			t.Error("the session is lost while it is kept up")
		}
		if c := wholeNotes(followNotes(t, s, "x")); len(c.Put) != 1 {
			t.Errorf("left is %v", texts(c.Put))
		}
	}},
	{"a session cut off knows that it is lost before others see it end", func(t *testing.T, s Subject) {
		a := session(t, s, short)
		say(t, a, "x", "one")
		f := followNotes(t, s.Other, "")
		wholeNotes(f)
		s.Cut(t)
		select {
		case <-a.Lost():
		case c := <-f.changes:
			t.Fatalf("others saw %+v before the session was lost", c)
		}
		if c := f.next(); !slices.Equal(c.Gone, []string{"x"}) {
			t.Errorf("got %+v, want the note to vanish", c)
		}
		s.Mend(t)
		if err := a.Put(within(t), "x", nil); !errors.Is(err, store.ErrSessionEnded) {
			t.Errorf("put: got %v, want ErrSessionEnded", err)
		}
	}},
	{"a session that has ended can do nothing more", func(t *testing.T, s Subject) {
		a := session(t, s, long)
		if err := a.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"put":    a.Put(within(t), "x", nil),
			"remove": a.Remove(within(t), "x"),
			"lead":   a.Lead(within(t), "e"),
		} {
			if !errors.Is(err, store.ErrSessionEnded) {
				t.Errorf("%s: got %v, want ErrSessionEnded", what, err)
			}
		}
		if c := wholeNotes(followNotes(t, s, "")); len(c.Put) != 0 {
			t.Errorf("it left %v", texts(c.Put))
		}
	}},
	{"a session's time to live is a second at least", func(t *testing.T, s Subject) {
		if _, err := s.Session(within(t), short/2); err == nil {
			t.Error("half a second is no error")
		}
	}},
	{"one session leads at a time, and the next when it is closed", func(t *testing.T, s Subject) {
		a, b, c := session(t, s, long), session(t, s.Other, long), session(t, s, long)
		lead(t, a, "e")
		lead(t, a, "e") // still does
		lead(t, b, "another election")
		second := make(chan error, 1)
		go func() { second <- b.Lead(within(t), "e") }()

		// Long enough for the third to take its place, which it must give up.
		ctx, cancel := context.WithTimeoutCause(t.Context(), short/4, errStopped)
		defer cancel()
		if err := c.Lead(ctx, "e"); !errors.Is(err, errStopped) {
			t.Errorf("lead: got %v, want ctx's cause", err)
		}
		select {
		case err := <-second:
			t.Fatalf("two lead: %v", err)
		default:
		}
		if err := a.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil {
			t.Fatalf("lead: %v", err)
		}
		// Who gave up waiting holds no place.
		if err := b.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		lead(t, session(t, s.Other, long), "e")
	}},
	{"the lead passes on from a session cut off, after it was lost", func(t *testing.T, s Subject) {
		a, b := session(t, s, short), session(t, s.Other, long)
		lead(t, a, "e")
		s.Cut(t)
		lead(t, b, "e")
		select {
		case <-a.Lost():
		default:
			t.Error("two lead")
		}
		s.Mend(t)
	}},
	{"who waits for the lead learns that its session is lost", func(t *testing.T, s Subject) {
		a, b := session(t, s, long), session(t, s, long)
		lead(t, a, "e")
		waiting := make(chan error, 1)
		go func() { waiting <- b.Lead(within(t), "e") }()
		if err := b.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; !errors.Is(err, store.ErrSessionEnded) {
			t.Errorf("lead: got %v, want ErrSessionEnded", err)
		}
	}},
}

// session begins one, and closes it when the test ends.
func session(t *testing.T, s store.Notes, ttl time.Duration) store.Session {
	t.Helper()
	a, err := s.Session(within(t), ttl)
	if err != nil {
		t.Fatalf("session: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = a.Close(ctx) // fails if the test left the store cut off
	})
	return a
}

// say writes a note under a session.
func say(t *testing.T, a store.Session, name, value string) {
	t.Helper()
	if err := a.Put(within(t), name, []byte(value)); err != nil {
		t.Fatalf("put note %q: %v", name, err)
	}
}

// lead waits until a session leads.
func lead(t *testing.T, a store.Session, election string) {
	t.Helper()
	if err := a.Lead(within(t), election); err != nil {
		t.Fatalf("lead %q: %v", election, err)
	}
}

// wait waits for a channel to be closed.
func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	ctx := within(t)
	select {
	case <-c:
	case <-ctx.Done():
		t.Fatalf("%s: %v", what, context.Cause(ctx))
	}
}

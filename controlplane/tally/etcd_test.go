package tally

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"signalbox/controlplane/tally/checkpoint"
	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// On etcd, a leader is stopped amid its work, another goes on, and who comes
// then knows everything.
func TestOnEtcdOneLeaderTakesOverFromAnother(t *testing.T) {
	m, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir(), Unsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	keeper := func() *etcd.Keeper {
		k, err := m.Keeper(etcd.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = k.Close() })
		return k
	}
	const routes = 500
	c := Config{Every: 100 * time.Millisecond}
	one, two := keeper(), keeper()
	members := []*member{start(t, one, elected(t, one), c), start(t, two, elected(t, two), c)}
	for _, m := range members {
		for _, node := range []string{"one", "two", "three"} {
			m.Joined(node, 1)
			for i := range routes {
				say(m.Book, node, 1, heard(fmt.Sprint("route-", i), 7, uint64(i)))
			}
			m.Ended(node, 1)
			m.Left(node, 1)
		}
	}
	watch(t, keeper(), "something is written", func(b *Book, chunks map[string]bool) bool {
		return len(chunks) > 0 || requestsOf(b, "route-1", 7) > 0
	})
	members[0].stop()
	watch(t, keeper(), "all is folded", func(b *Book, chunks map[string]bool) bool {
		return len(chunks) == 0 && requestsOf(b, "route-1", 7) > 0
	})
	again := start(t, keeper(), never, c)
	for i := range routes {
		name := fmt.Sprint("route-", i)
		wantRequests(t, again.Book, name, 7, 3*uint64(i))
		wantRequests(t, members[1].Book, name, 7, 3*uint64(i))
	}
}

// watch follows the notes until a book that has read them, and the chunks there
// are, are as wanted.
func watch(t *testing.T, k *etcd.Keeper, what string, done func(b *Book, chunks map[string]bool) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b, chunks := New(Config{}), map[string]bool{}
	errDone := errors.New("done")
	err := k.FollowNotes(ctx, checkpoint.Prefix, func(c store.NoteChange) error {
		b.Apply(c)
		if c.Whole {
			clear(chunks)
		}
		for _, n := range c.Put {
			if !checkpoint.IsBase(n.Name) {
				chunks[n.Name] = true
			}
		}
		for _, name := range c.Gone {
			delete(chunks, name)
		}
		if done(b, chunks) {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		t.Fatalf("%s: %v", what, err)
	}
}

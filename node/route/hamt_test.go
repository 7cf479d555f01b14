package route

import (
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"testing"
)

// A branch holds what a map holds, and what it shared stays as it was.
func TestABranchIsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	seed := maphash.MakeSeed()
	var b *branch[int]
	want := map[string]int{}
	for round := range 200 {
		e := &edit{seed: seed}
		before, beforeWant := b, maps.Clone(want)
		for range rng.IntN(60) {
			key := fmt.Sprint(rng.IntN(500))
			if rng.IntN(5) < 2 {
				b = b.without(e, key)
				delete(want, key)
			} else {
				b = b.put(e, key, round)
				want[key] = round
			}
		}
		if got := maps.Collect(b.all()); !maps.Equal(got, want) {
			t.Fatalf("round %d: got %v, want %v", round, got, want)
		}
		if got := maps.Collect(before.all()); !maps.Equal(got, beforeWant) {
			t.Fatalf("round %d changed what was shared", round)
		}
		for key, v := range want {
			if got, ok := b.get(maphash.String(seed, key), key); !ok || got != v {
				t.Fatalf("round %d: %s is %d, %v; want %d", round, key, got, ok, v)
			}
		}
	}
}

// Keys whose hashes are equal in all bits are told apart all the same.
func TestKeysThatHashAlikeLieSideBySide(t *testing.T) {
	const last = lastShift + levelBits
	e := &edit{seed: maphash.MakeSeed()}
	var b *branch[int]
	for i := range 50 {
		b = b.putAt(e, 42, last, fmt.Sprint(i), i)
	}
	frozen := b
	e = &edit{seed: e.seed}
	b = b.withoutAt(e, 42, last, "7")
	b = b.withoutAt(e, 42, last, "none")
	b = b.putAt(e, 42, last, "8", 88)
	got := maps.Collect(b.all())
	if _, ok := got["7"]; ok || len(got) != 49 || got["8"] != 88 || got["9"] != 9 {
		t.Errorf("got %v", got)
	}
	if got := maps.Collect(frozen.all()); len(got) != 50 || got["8"] != 8 {
		t.Errorf("what was shared is now %v", got)
	}
}

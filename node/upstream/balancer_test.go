package upstream

import (
	"sync"
	"testing"
)

func TestBalancerTakesTurns(t *testing.T) {
	b := NewBalancer()
	counts := make([]int, 7)
	last := b.Next(7, Tried{})
	for range 7 * 10 {
		i := b.Next(7, Tried{})
		if i != (last+1)%7 {
			t.Fatalf("%d after %d", i, last)
		}
		counts[i]++
		last = i
	}
	for i, n := range counts {
		if n != 10 {
			t.Errorf("upstream %d had %d turns, want 10", i, n)
		}
	}
}

func TestBalancersDoNotBeginAlike(t *testing.T) {
	first := map[int]bool{}
	for range 200 {
		first[NewBalancer().Next(100, Tried{})] = true
	}
	if len(first) < 20 { // by chance: less likely than 1 in 10^90
		t.Errorf("200 balancers began at %d upstreams", len(first))
	}
}

func TestBalancerLeavesOutWhatWasTried(t *testing.T) {
	b := NewBalancer()
	for _, n := range []int{1, 2, 5, 63, 64, 65, 200} {
		var tried Tried
		for k := range n {
			i := b.Next(n, tried)
			if i < 0 || i >= n || tried.Has(i) {
				t.Fatalf("n %d, after %d: got %d", n, k, i)
			}
			tried.Add(i)
		}
		if i := b.Next(n, tried); i != -1 {
			t.Errorf("n %d: got %d when all were tried", n, i)
		}
	}
	for _, n := range []int{0, -1} {
		if i := b.Next(n, Tried{}); i != -1 {
			t.Errorf("n %d: got %d", n, i)
		}
	}
	var odd Tried
	odd.Add(-1)
	odd.Add(1000)
	if i := b.Next(2, odd); i < 0 {
		t.Errorf("indexes out of range count: got %d", i)
	}
}

// The requests of an upstream that is down go to the others in equal parts,
// not to its neighbour.
func TestShareOfTheDeadIsSpread(t *testing.T) {
	const n, dead = 5, 2
	b := NewBalancer()
	counts := make([]int, n)
	for range n * (n - 1) * 10 {
		var tried Tried
		i := b.Next(n, tried)
		if i == dead {
			tried.Add(i)
			i = b.Next(n, tried)
		}
		counts[i]++
	}
	for i, got := range counts {
		if want := n * 10; i != dead && got != want {
			t.Errorf("upstream %d had %d requests, want %d of %v", i, got, want, counts)
		}
	}
}

func TestBalancerAtOnce(t *testing.T) {
	b := NewBalancer()
	var mu sync.Mutex
	counts := make([]int, 4)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				i := b.Next(4, Tried{})
				mu.Lock()
				counts[i]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i, got := range counts {
		if got != 200 {
			t.Errorf("upstream %d: %d, want 200", i, got)
		}
	}
}

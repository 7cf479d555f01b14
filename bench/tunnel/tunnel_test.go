package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"signalbox/bench/child"
)

func TestMain(m *testing.M) {
	if was, err := child.Main(parts); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// startLoad starts a load, and one target in it.
func startLoad(t *testing.T) (load *child.Child, target string) {
	t.Helper()
	load, err := child.Start(context.WithoutCancel(t.Context()), child.Spec{Part: "load"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := load.Close(); err != nil {
			t.Error(err)
		}
	})
	order{Do: "target"}.must(t, load, &target)
	return load, target
}

// must gives an order that has to succeed.
func (o order) must(t *testing.T, load *child.Child, answer any) {
	t.Helper()
	if err := ask(load, o, answer); err != nil {
		t.Fatal(err)
	}
}

func TestBytesFlowInBothDirectionsUntilTheyAreEnded(t *testing.T) {
	load, target := startLoad(t)
	for _, down := range []bool{false, true, false} {
		order{Do: "open", Addr: target, Count: 3, Down: down, Pids: []int{load.Pid()}}.must(t, load, nil)
		var c counted
		order{Do: "flow", For: 20 * time.Millisecond}.must(t, load, &c)
		if c.Count < chunk || c.Took < 20*time.Millisecond || c.CPU <= 0 {
			t.Errorf("down %v: %+v", down, c)
		}
		order{Do: "close"}.must(t, load, nil)
		order{Do: "flow", For: time.Millisecond}.must(t, load, &c)
		if c.Count != 0 {
			t.Errorf("down %v: %d bytes flow after the end", down, c.Count)
		}
	}
}

func TestVisitsAndIdleConnectionsAreCounted(t *testing.T) {
	load, target := startLoad(t)
	var c counted
	order{Do: "visit", Addr: target, Count: 2, For: 20 * time.Millisecond}.must(t, load, &c)
	if c.Count < 2 || c.Failed != 0 {
		t.Errorf("visits: %+v", c)
	}
	order{Do: "hold", Addr: target, Count: 40}.must(t, load, &c)
	if c.Count != 40 || c.Err != "" {
		t.Errorf("idle connections: %+v", c)
	}
	order{Do: "close"}.must(t, load, nil)
}

func TestWhatCannotBeReachedIsSaid(t *testing.T) {
	load, _ := startLoad(t)
	var c counted
	order{Do: "hold", Addr: "127.0.0.1:1", Count: 2}.must(t, load, &c)
	if c.Count != 0 || c.Err == "" {
		t.Errorf("got %+v", c)
	}
	if err := ask(load, order{Do: "open", Addr: "127.0.0.1:1", Count: 1}, nil); err == nil {
		t.Error("nobody listens, and yet users were let in")
	}
}

func TestDatagramsComeBack(t *testing.T) {
	load, target := startLoad(t)
	for _, size := range sizes {
		var c counted
		order{Do: "echo", Addr: target, Count: 4, Size: size, Rate: 2000, For: 20 * time.Millisecond}.must(t, load, &c)
		if c.Count < 4 || c.Offered == 0 || c.Returned > c.Offered {
			t.Errorf("%d bytes: %+v", size, c)
		}
	}
}

func TestWhatChildrenUseIsCountedOnceTheyHaveEnded(t *testing.T) {
	o := order{Pids: []int{os.Getpid()}, Forks: true}
	c, err := o.metered(o.ended, func() counted {
		return counted{Count: 1}
	})
	if err != nil || c.CPU < 0 || c.Count != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestRatiosAreOfTheSameGroupAndRound(t *testing.T) {
	second := func(count float64) measured { return measured{Count: count, CPU: time.Second, Took: time.Second} }
	l := &lab{ways: []*way{
		{name: haproxyName, group: chain, visits: []measured{second(1)}},
		{name: haproxyName, group: one, visits: []measured{second(10), second(20)}},
		{name: "single end", group: one, ours: true, visits: []measured{second(20), second(40), second(1)}},
	}}
	rate, each := l.ratios(l.ways[2], haproxyName, func(w *way) []measured { return w.visits })
	if math.Abs(rate-2) > 1e-9 || math.Abs(each-0.5) > 1e-9 {
		t.Errorf("rate %v and CPU %v of HAProxy's, want 2 and 0.5", rate, each)
	}
	if rate, each = l.ratios(l.ways[2], socatName, func(w *way) []measured { return w.visits }); rate != 0 || each != 0 {
		t.Errorf("rate %v and CPU %v of what is not there", rate, each)
	}
}

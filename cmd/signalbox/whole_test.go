package main

import (
	"context"
	"errors"
	"testing"

	"signalbox/node"
)

// A node outlives the store beside it.
func TestTrafficGoesOnWhenTheStoreInTheProcessEnds(t *testing.T) {
	s := &chpSystem{public: freeAddr(t), api: freeAddr(t), log: &safeBuffer{}}
	t.Setenv("CONFIGPROXY_AUTH_TOKEN", chpToken)
	var c chpFlags
	if err := c.parse(s.where()); err != nil {
		t.Fatal(err)
	}
	w, err := c.whole(newCHPLog(s.log, "info"))
	if err != nil {
		t.Fatal(err)
	}
	failed, ready, ended := make(chan error, 1), make(chan struct{}), make(chan error, 1)
	w.open = func(context.Context) (*store, error) {
		kept := openMemory()
		kept.failed = failed
		return kept, nil
	}
	w.ready = func(context.Context, *plane, *node.Node) { close(ready) }
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { ended <- w.run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	s.post(t, "/a", "http://"+chpUpstream(t, "A"))
	failed <- errors.New("no space left on device")
	s.says(t, "the store has ended: traffic goes on")
	if a := s.ask(t, "GET /a"); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	stop()
	if err := <-ended; !errors.Is(err, errStore) {
		t.Errorf("it ends with %v", err)
	}
}

package presence_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/controlplane/presence"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// A hanging store is gone once a replica writes of nodes that do not reach it:
// that write takes as long as it may, and leases run out meanwhile.
type hanging struct {
	store.Notes
	keeper *mem.Keeper
	lost   chan time.Time // when the lease was
}

func (h *hanging) Session(ctx context.Context, ttl time.Duration) (store.Session, error) {
	s, err := h.Notes.Session(ctx, ttl)
	if err != nil {
		return nil, err
	}
	return &hangingSession{s, h}, nil
}

type hangingSession struct {
	store.Session
	store *hanging
}

func (s *hangingSession) Put(ctx context.Context, name string, value []byte) error {
	if !strings.HasPrefix(name, "unheard/") {
		return s.Session.Put(ctx, name, value)
	}
	s.store.keeper.SetAvailable(false)
	go func() {
		<-s.Lost()
		s.store.lost <- time.Now()
	}()
	<-ctx.Done()
	return ctx.Err()
}

// A lonely replica knows a node that does not reach it.
type lonely struct{ heard }

func (*lonely) Unheard() []string                     { return []string{"n"} }
func (*lonely) Leased(string, *signalboxv1.NodeLease) {}

func TestALostLeaseIsNoticedDuringAWriteThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := mem.New()
		h := &hanging{keeper, keeper, make(chan time.Time, 1)}
		p := presence.New(presence.Config{ID: "a", TTL: 5 * time.Second}, h, slog.New(slog.DiscardHandler), &lonely{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = p.Run(ctx)
		}()
		lost := <-h.lost
		for can, _, moved := p.Standing(); can; can, _, moved = p.Standing() {
			<-moved
		}
		if late := time.Since(lost); late > 0 {
			t.Errorf("it calls itself a feeder for %s after its lease was lost", late)
		}
		cancel()
		<-ended
	})
}

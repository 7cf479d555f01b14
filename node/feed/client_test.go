package feed

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestClientSaysWhoItIsAndServesWhatItIsFed(t *testing.T) {
	p := newPlane(t, "cp1")
	r := newRig(t, p.serve()).start()
	s := p.session()
	if h := s.hello; h.GetNode() != "n" || h.GetEpoch() != 7 || h.GetSoftwareVersion() != "1.2" || h.GetReady() ||
		h.GetLabels()["zone"] != "a" || h.GetListeners()["public"] != ":8000" || !empty(h.GetServing()) {
		t.Errorf("Hello is %v", h)
	}
	if got := s.feed(); got != "nothing" {
		t.Errorf("Feed has %s, want nothing", got)
	}
	s.update(part(nil, at("e", 5), 1, 2, "+a@1"))
	s.update(part(nil, at("e", 5), 2, 2, "+b@2"))
	if a := s.ack(at("e", 5)); !a.GetReady() {
		t.Error("the Ack of what was current at Welcome does not say ready")
	}
	s.update(part(at("e", 5), at("e", 7), 1, 1, "+b@7", "-a"))
	if a := s.ack(at("e", 7)); len(a.GetRejections()) != 1 || a.GetRejections()[0].GetNode() != "n" {
		t.Errorf("the Ack is %v, want the rejection of b by n", a)
	}
	if want := map[string]int64{"b": 2}; !maps.Equal(r.table.routes, want) {
		t.Errorf("the table is %v, want %v", r.table.routes, want)
	}
	st := r.client.Status()
	if !st.Ready || !same(st.Serving, at("e", 7)) || len(st.Rejections) != 1 ||
		len(st.ControlPlanes) != 1 || !st.ControlPlanes[0].Feeds || st.ControlPlanes[0].ID != "cp1" {
		t.Errorf("the status is %+v", st)
	}
}

func TestClientAcknowledgesOnAllStreamsAndFailsOver(t *testing.T) {
	planes := []*plane{newPlane(t, "cp1"), newPlane(t, "cp2")}
	newRig(t, planes[0].serve(), planes[1].serve()).start()
	s := []*session{planes[0].session(), planes[1].session()}
	feeder := s[0]
	if got := fedBy(t, s); got == 1 {
		feeder, s[0], s[1] = s[1], s[1], s[0]
		planes[0], planes[1] = planes[1], planes[0]
	}
	feeder.update(part(nil, at("e", 5), 1, 1, "+a@1"))
	for _, s := range s {
		s.ack(at("e", 5))
	}
	t.Run("when the feeding stream ends, the other is asked at once", func(t *testing.T) {
		feeder.end(nil)
		if got := s[1].feed(); got != "e.5" {
			t.Errorf("Feed has %s, want e.5", got)
		}
		s[1].update(part(at("e", 5), at("e", 6), 1, 1, "+a@6"))
		s[1].ack(at("e", 6))
	})
	t.Run("the lost stream comes back, and says where it stands", func(t *testing.T) {
		s[0] = planes[0].session()
		if got := text(s[0].hello.GetServing()); got != "e.5" && got != "e.6" {
			t.Errorf("Hello serves %s", got)
		}
		s[1].update(part(at("e", 6), at("e", 8), 1, 1, "+a@8"))
		s[0].ack(at("e", 8))
	})
	t.Run("Unfed makes it ask the other", func(t *testing.T) {
		s[1].say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Unfed{Unfed: &signalboxv1.Unfed{Reason: "test"}}})
		if got := s[0].feed(); got != "e.8" {
			t.Errorf("Feed has %s, want e.8", got)
		}
	})
}

// fedBy waits until one of two sessions is asked to feed, and returns which.
func fedBy(t *testing.T, s []*session) int {
	t.Helper()
	for {
		select {
		case m := <-s[0].got:
			if m.GetFeed() != nil {
				return 0
			}
		case m := <-s[1].got:
			if m.GetFeed() != nil {
				return 1
			}
		case <-t.Context().Done():
			t.Fatal("nobody was asked")
		}
	}
}

func TestClientComesBackAfterAllAreGone(t *testing.T) {
	p := newPlane(t, "cp1")
	addr := p.serve()
	r := newRig(t, addr).start()
	s := p.session()
	s.feed()
	s.update(part(nil, at("e", 7), 1, 1, "+a@7", "+b@2"))
	s.ack(at("e", 7))
	s.end(status.Error(codes.Unavailable, "going away"))
	s = p.session()
	if h := s.hello; !same(h.GetServing(), at("e", 7)) || !h.GetReady() || len(h.GetRejections()) != 1 || h.GetRejections()[0].GetName() != "a" {
		t.Errorf("Hello is %v, want e.7, ready, and the rejection of a", h)
	}
	if got := s.feed(); got != "e.7" {
		t.Errorf("Feed has %s, want e.7", got)
	}
	if len(r.table.applied) != 1 {
		t.Errorf("%d changes were applied, want one", len(r.table.applied))
	}
}

func TestClientKeepsOneStreamToAReplicaOfManyAddresses(t *testing.T) {
	p := newPlane(t, "cp1")
	addrs := []string{p.serve(), p.serve(), p.serve()}
	newRig(t, addrs...).start()
	kept, streams := p.session(), 1
	for served := false; !served || streams < len(addrs); {
		select {
		case kept = <-p.sessions: // it took the place of the one before
			streams, served = streams+1, false
		case m := <-kept.got:
			if m.GetFeed() != nil {
				kept.update(part(nil, at("e", 5), 1, 1, "+a@1"))
			}
			served = served || m.GetAck() != nil
		case <-t.Context().Done():
			t.Fatal("the one stream that is kept is not fed")
		}
	}
	if all := streams + len(p.sessions); all > 2*len(addrs) {
		t.Errorf("%d streams were opened to one replica of %d addresses", all, len(addrs))
	}
	kept.end(nil)
	// Streams may still be coming that were opened before it was served.
	for s, late := p.session(), 0; text(s.hello.GetServing()) != "e.5"; s = p.session() {
		if late++; late > 2*len(addrs) {
			t.Fatal("after the loss of the one stream no Hello has e.5")
		}
	}
}

func TestClientConnectsToMembersItIsTold(t *testing.T) {
	p, other := newPlane(t, "cp1"), newPlane(t, "cp2")
	p.members = &signalboxv1.Members{Members: []*signalboxv1.Member{
		{Id: "cp1", Address: p.serve()}, {Id: "cp2", Address: other.serve()}, {Id: "cp3"},
	}}
	newRig(t, p.members.Members[0].Address).start()
	p.session()
	other.session()
}

func TestClientIsRefused(t *testing.T) {
	t.Run("a key that is refused is tried again, and works once it is replaced", func(t *testing.T) {
		p := newPlane(t, "cp1")
		tries := make(chan struct{}, 1000)
		p.refuse = func(md metadata.MD) error {
			tries <- struct{}{}
			if !slices.Equal(md.Get("authorization"), []string{"Bearer sekrit"}) {
				t.Errorf("authorization is %q", md.Get("authorization"))
			}
			if len(tries) < 3 {
				return status.Error(codes.Unauthenticated, "no such key")
			}
			return nil
		}
		newRig(t, p.serve()).start()
		p.session()
	})
	t.Run("a process that was replaced ends, with a reason", func(t *testing.T) {
		p := newPlane(t, "cp1")
		p.refuse = func(metadata.MD) error { return status.Error(codes.AlreadyExists, "epoch 9 is known") }
		r := newRig(t, p.serve()).start()
		var replaced *ReplacedError
		if err := wait(t, r.ended, "the end"); !errors.As(err, &replaced) || replaced.Node != "n" {
			t.Errorf("Run returned %v, want a ReplacedError", err)
		}
	})
}

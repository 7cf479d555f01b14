package api

import (
	"context"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// listeners is the ListenerService.
type listeners struct {
	signalboxv1.UnimplementedListenerServiceServer
	*core
}

func listenerKey(name string) store.Key { return store.Key{Kind: store.KindListener, Name: name} }

// PutListener implements ListenerService.
func (s *listeners) PutListener(ctx context.Context, req *signalboxv1.PutListenerRequest) (*signalboxv1.PutListenerResponse, error) {
	var bad problems
	if req.GetListener() == nil {
		bad.add("listener", "is missing")
	} else {
		bad.under("listener", rules.Listener(req.GetListener()))
	}
	bad.expected(req.ExpectedRevision)
	wait := bad.wait(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	l := proto.CloneOf(req.GetListener())
	l.Meta = &signalboxv1.Meta{}
	p := &put{field: "listener", key: listenerKey(l.GetName()), message: l, meta: l.Meta, expected: req.ExpectedRevision}
	result, err := s.putOne(ctx, p, req.GetValidateOnly(), wait, nil)
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.PutListenerResponse{Listener: l, Result: result}, nil
}

// GetListener implements ListenerService.
func (s *listeners) GetListener(ctx context.Context, req *signalboxv1.GetListenerRequest) (*signalboxv1.GetListenerResponse, error) {
	r, err := s.find(ctx, listenerKey(req.GetName()))
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.GetListenerResponse{Listener: r.Message.(*signalboxv1.Listener)}, nil
}

// ListListeners implements ListenerService.
func (s *listeners) ListListeners(ctx context.Context, req *signalboxv1.ListListenersRequest) (*signalboxv1.ListListenersResponse, error) {
	var bad problems
	pg := bad.page(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	view, err := s.current(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	res := &signalboxv1.ListListenersResponse{Version: version(view.Version)}
	view.Ascend(store.KindListener, "", pg.from, func(r *store.Record) bool {
		if !pg.takes(r.Name, proto.Size(r.Message)) {
			return false
		}
		res.Listeners = append(res.Listeners, r.Message.(*signalboxv1.Listener))
		return true
	})
	res.NextPageToken = pg.next()
	return res, nil
}

// DeleteListener implements ListenerService.
func (s *listeners) DeleteListener(ctx context.Context, req *signalboxv1.DeleteListenerRequest) (*signalboxv1.DeleteListenerResponse, error) {
	result, err := s.deleteOne(ctx, deletion{
		key: listenerKey(req.GetName()), expected: req.ExpectedRevision, validateOnly: req.GetValidateOnly(), waits: req,
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.DeleteListenerResponse{Result: result}, nil
}

package feed

import (
	"slices"
	"sync"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A part is at most this many records and about this many bytes, so that a
// receiver's limit is never met and no node waits long behind another's.
const (
	partRecords = 1000
	partBytes   = 512 << 10
)

// An encoded message is sent to many nodes and marshalled once.
type encoded struct{ bytes []byte }

// Codec marshals like gRPC's own, but sends what is encoded as it is. A gRPC
// server that serves a Server needs it, by grpc.ForceServerCodecV2.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(grpcproto.Name)} }

type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(*encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(e.bytes)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// An encoder remembers the encoded updates to one view: nodes mostly come from
// the same version and need the same bytes.
type encoder struct {
	mu      sync.Mutex
	to      *replica.View
	updates map[store.Revision]*shared // by the revision they start from; -1 for the whole state
}

// shared is an update as far as it is the same for all nodes.
type shared struct {
	once  sync.Once
	parts []any // *encoded; of a whole state all but the last
	// nodes are the node records touched, nil where they are gone. Only their
	// own node is sent them.
	nodes map[store.Key]*store.Record
	lost  bool // the view cannot tell what changed
	err   error
}

// get returns the update to view from a revision, built once.
func (e *encoder) get(view *replica.View, from store.Revision, build func(*shared)) *shared {
	e.mu.Lock()
	if e.to != view {
		if e.to != nil && e.to.Version.Revision > view.Version.Revision && e.to.Version.Epoch == view.Version.Epoch {
			e.mu.Unlock() // an older view than others are at: not worth remembering
			s := new(shared)
			build(s)
			return s
		}
		e.to, e.updates = view, map[store.Revision]*shared{}
	}
	s, ok := e.updates[from]
	if !ok {
		s = new(shared)
		e.updates[from] = s
	}
	e.mu.Unlock()
	s.once.Do(func() { build(s) })
	return s
}

// An outgoing is an update as it is sent to one node; no parts is nothing to
// send.
type outgoing struct {
	parts []any // *encoded
	whole bool
}

// since returns what takes a node from have to view, or the whole
// state where the view cannot tell.
func (e *encoder) since(view *replica.View, have store.Version, node store.Key) (outgoing, error) {
	s := e.get(view, have.Revision, func(s *shared) { s.buildSince(view, have) })
	if s.lost {
		return e.whole(view, node)
	}
	own, touched := s.nodes[node]
	if s.err != nil || !touched {
		return outgoing{parts: s.parts}, s.err
	}
	// The node's own record is among the changes: rare, and encoded for it.
	all, _, _ := changes(view, have)
	if own != nil {
		all.Upserts = append(all.Upserts, recordOf(own))
	} else {
		all.Removals = append(all.Removals, keyOf(node))
	}
	mine := new(shared)
	mine.encode(all, wire(have), wire(view.Version), 0)
	return outgoing{parts: mine.parts}, mine.err
}

// whole returns the parts of the whole state. The last holds what only this
// node is sent.
func (e *encoder) whole(view *replica.View, node store.Key) (outgoing, error) {
	s := e.get(view, -1, func(s *shared) { s.buildWhole(view) })
	if s.err != nil {
		return outgoing{}, s.err
	}
	n := int32(len(s.parts) + 1)
	last := &signalboxv1.Update{To: wire(view.Version), Part: n, Parts: n}
	if own := view.Get(node); own != nil {
		last.Upserts = append(last.Upserts, recordOf(own))
	}
	bytes, err := marshal(last)
	if err != nil {
		return outgoing{}, err
	}
	return outgoing{append(s.parts[:len(s.parts):len(s.parts)], &encoded{bytes}), true}, nil
}

func (s *shared) buildSince(view *replica.View, have store.Version) {
	all, nodes, ok := changes(view, have)
	s.nodes, s.lost = nodes, !ok
	if ok {
		s.encode(all, wire(have), wire(view.Version), 0)
	}
}

// forAll are the kinds of records that every node is sent.
var forAll = []store.Kind{store.KindListener, store.KindRoute, store.KindInstance, store.KindAssignment}

// changes returns what changed after have and concerns every node, and the
// node records among the changes.
func changes(view *replica.View, have store.Version) (all *signalboxv1.Update, nodes map[store.Key]*store.Record, ok bool) {
	all = new(signalboxv1.Update)
	nodes = map[store.Key]*store.Record{}
	ok = view.Since(have.Revision, func(r *store.Record) {
		if r.Kind == store.KindNode {
			nodes[r.Key] = r
		} else if m := recordOf(r); m != nil {
			all.Upserts = append(all.Upserts, m)
		}
	}, func(k store.Key) {
		if k.Kind == store.KindNode {
			nodes[k] = nil
		} else if slices.Contains(forAll, k.Kind) {
			all.Removals = append(all.Removals, keyOf(k))
		}
	})
	return all, nodes, ok
}

func (s *shared) buildWhole(view *replica.View) {
	all := new(signalboxv1.Update)
	for _, kind := range forAll {
		view.Ascend(kind, "", "", func(r *store.Record) bool {
			all.Upserts = append(all.Upserts, recordOf(r))
			return true
		})
	}
	s.encode(all, nil, wire(view.Version), 1)
}

// encode cuts an update into parts and marshals them. more is how many parts
// the caller adds.
func (s *shared) encode(all *signalboxv1.Update, from, to *signalboxv1.Version, more int) {
	cut := split(all)
	if len(cut) == 0 && more == 0 {
		cut = append(cut, new(signalboxv1.Update)) // only the version moves
	}
	for i, up := range cut {
		up.From, up.To, up.Part, up.Parts = from, to, int32(i+1), int32(len(cut)+more)
		bytes, err := marshal(up)
		if err != nil {
			s.err = err
			return
		}
		s.parts = append(s.parts, &encoded{bytes})
	}
}

// split cuts an update into pieces that make good parts.
func split(all *signalboxv1.Update) []*signalboxv1.Update {
	var cut []*signalboxv1.Update
	var room, bytes int
	next := func(size int) *signalboxv1.Update {
		if room == 0 || bytes+size > partBytes {
			cut = append(cut, new(signalboxv1.Update))
			room, bytes = partRecords, 0
		}
		room--
		bytes += size
		return cut[len(cut)-1]
	}
	for _, k := range all.Removals {
		up := next(proto.Size(k))
		up.Removals = append(up.Removals, k)
	}
	for _, r := range all.Upserts {
		up := next(proto.Size(r))
		up.Upserts = append(up.Upserts, r)
	}
	return cut
}

func marshal(up *signalboxv1.Update) ([]byte, error) {
	return proto.Marshal(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Update{Update: up}})
}

// recordOf is a record as nodes are sent it, nil for those they are not.
func recordOf(r *store.Record) *signalboxv1.Record {
	switch m := r.Message.(type) {
	case *signalboxv1.Route:
		return &signalboxv1.Record{Record: &signalboxv1.Record_Route{Route: m}}
	case *signalboxv1.Listener:
		return &signalboxv1.Record{Record: &signalboxv1.Record_Listener{Listener: m}}
	case *signalboxv1.Instance:
		return &signalboxv1.Record{Record: &signalboxv1.Record_Instance{Instance: m}}
	case *signalboxv1.Assignment:
		return &signalboxv1.Record{Record: &signalboxv1.Record_Assignment{Assignment: m}}
	case *signalboxv1.Node:
		return &signalboxv1.Record{Record: &signalboxv1.Record_Node{Node: m}}
	}
	return nil
}

func keyOf(k store.Key) *signalboxv1.RecordKey {
	return &signalboxv1.RecordKey{Kind: observe.KindOf(k.Kind), Name: k.Name}
}

func wire(v store.Version) *signalboxv1.Version {
	return &signalboxv1.Version{Epoch: v.Epoch, Revision: int64(v.Revision)}
}

package node

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"signalbox/node/feed"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A state is the records of one version, encoded as in a Record.
type state struct {
	version *signalboxv1.Version
	// good are in force. refused are newer than those in force under the same
	// keys, and were refused.
	good, refused map[feed.Key][]byte
}

func newState() state {
	return state{good: map[feed.Key][]byte{}, refused: map[feed.Key][]byte{}}
}

// apply takes a change over.
func (s *state) apply(a applied) {
	before := s.good
	if a.change.Whole {
		*s = newState()
	}
	s.version = a.change.To
	for _, u := range a.change.Upserts {
		s.put(u, a.refused, before)
	}
	for _, k := range a.change.Removals {
		key := feed.Key{Kind: k.GetKind(), Name: k.GetName()}
		delete(s.good, key)
		delete(s.refused, key)
	}
	for _, key := range a.accepted {
		if b, ok := s.refused[key]; ok {
			s.good[key] = b
			delete(s.refused, key)
		}
	}
}

// put takes one record over. The last good one of a refused record stays.
func (s *state) put(u *signalboxv1.Record, refused map[feed.Key]bool, before map[feed.Key][]byte) {
	key, ok := feed.KeyOf(u)
	if !ok {
		return
	}
	b, err := encode(u)
	if err != nil {
		return // it came off the wire, so it can be put there again
	}
	if !refused[key] {
		s.good[key] = b
		delete(s.refused, key)
		return
	}
	s.refused[key] = b
	if last, ok := before[key]; ok {
		s.good[key] = last
	}
}

// encode returns a record as it is kept: without what a node has no use for,
// which may be large, or secret.
func encode(u *signalboxv1.Record) ([]byte, error) {
	full, ok := u.GetRecord().(*signalboxv1.Record_Route)
	if !ok {
		return proto.Marshal(u)
	}
	slim := new(signalboxv1.Route)
	m := slim.ProtoReflect()
	full.Route.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Name() != "data" && f.Name() != "labels" && f.Name() != "upstreams" {
			m.Set(f, v)
		}
		return true
	})
	m.SetUnknown(full.Route.ProtoReflect().GetUnknown())
	for _, up := range full.Route.GetUpstreams() {
		slim.Upstreams = append(slim.Upstreams, withoutUser(up))
	}
	return proto.Marshal(&signalboxv1.Record{Record: &signalboxv1.Record_Route{Route: slim}})
}

// withoutUser returns an upstream without the user information in its URL,
// which nodes ignore.
func withoutUser(up *signalboxv1.Upstream) *signalboxv1.Upstream {
	scheme, rest, found := strings.Cut(up.GetUrl(), "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	at := strings.LastIndexByte(authority, '@')
	if !found || at < 0 {
		return up
	}
	bare := proto.CloneOf(up)
	bare.Url = scheme + "://" + rest[at+1:]
	return bare
}

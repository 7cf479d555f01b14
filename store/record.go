package store

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A Kind is a sort of record; it is the word under which records are kept.
type Kind string

// The kinds of records there are.
const (
	KindRoute    Kind = "route"    // *signalboxv1.Route
	KindListener Kind = "listener" // *signalboxv1.Listener
	KindNode     Kind = "node"     // *signalboxv1.Node, its wanted half
	KindAPIKey   Kind = "api_key"  // *signalboxv1.ApiKeyRecord

	KindRevocation Kind = "revocation" // *signalboxv1.NodeRevocation

	KindInstance   Kind = "instance"   // *signalboxv1.Instance, its wanted half
	KindAssignment Kind = "assignment" // *signalboxv1.Assignment, by the instance's name
)

// A Key names a record.
type Key struct {
	Kind Kind
	Name string
}

// String is "kind/name", as in logs and in keepers.
func (k Key) String() string { return string(k.Kind) + "/" + k.Name }

// ParseKey is the inverse of Key.String. It does not know which kinds exist.
func ParseKey(s string) (Key, bool) {
	kind, name, ok := strings.Cut(s, "/")
	return Key{Kind: Kind(kind), Name: name}, ok && kind != "" && name != ""
}

// Compare orders keys by kind and then by name.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.Name, o.Name))
}

// A Record is one message under its key. What a store returns has the
// revisions in the message's Meta too.
type Record struct {
	Key
	Message proto.Message
	// Created is the revision at which the record came into being, Modified
	// that of its last write.
	Created, Modified Revision
}

// message returns an empty message of the kind, and where its Meta is.
func message(kind Kind) (proto.Message, func() **signalboxv1.Meta, error) {
	switch kind {
	case KindRoute:
		m := new(signalboxv1.Route)
		return m, func() **signalboxv1.Meta { return &m.Meta }, nil
	case KindListener:
		m := new(signalboxv1.Listener)
		return m, func() **signalboxv1.Meta { return &m.Meta }, nil
	case KindNode:
		m := new(signalboxv1.Node)
		return m, func() **signalboxv1.Meta { return &m.Meta }, nil
	case KindInstance:
		m := new(signalboxv1.Instance)
		return m, func() **signalboxv1.Meta { return &m.Meta }, nil
	case KindAssignment:
		m := new(signalboxv1.Assignment)
		return m, func() **signalboxv1.Meta { return &m.Meta }, nil
	case KindRevocation:
		m := new(signalboxv1.NodeRevocation)
		return m, func() **signalboxv1.Meta { return &m.Meta }, nil
	case KindAPIKey:
		m := &signalboxv1.ApiKeyRecord{}
		return m, func() **signalboxv1.Meta {
			if m.Key == nil {
				m.Key = new(signalboxv1.ApiKey)
			}
			return &m.Key.Meta
		}, nil
	}
	return nil, nil, fmt.Errorf("kind %q is not known", kind)
}

// Encode returns the bytes a keeper holds for a record's message. A message of
// another type than the kind's is an error.
func Encode(r Record) ([]byte, error) {
	want, _, err := message(r.Kind)
	if err != nil {
		return nil, err
	}
	if r.Message == nil {
		return nil, errors.New("there is no message")
	}
	if got := r.Message.ProtoReflect().Descriptor(); got != want.ProtoReflect().Descriptor() {
		return nil, fmt.Errorf("the message is a %s", got.FullName())
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(r.Message)
}

// Decode makes a record of the bytes a keeper holds, and fills in the
// revisions of its Meta.
func Decode(key Key, value []byte, created, modified Revision) (Record, error) {
	m, meta, err := message(key.Kind)
	if err != nil {
		return Record{}, err
	}
	if err := proto.Unmarshal(value, m); err != nil {
		return Record{}, err
	}
	at := meta()
	if *at == nil {
		*at = new(signalboxv1.Meta)
	}
	(*at).Revision, (*at).CreatedRevision = int64(modified), int64(created)
	return Record{Key: key, Message: m, Created: created, Modified: modified}, nil
}

package checkpoint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// An Entry is what was carried of one route, from one creation to its removal,
// or of one incarnation of a tunnel instance.
type Entry struct {
	Subject Subject
	Created int64
	Counts  Counts
}

// Folds are the processes a base has taken in, and until when that has to be
// remembered.
type Folds map[Process]time.Time

// EncodeChunk returns the note that holds what a process carried. It sorts the
// entries.
func EncodeChunk(all []Entry) ([]byte, error) {
	return proto.Marshal(&signalboxv1.TallyChunk{Entries: entriesOf(all)})
}

// EncodeBase returns the note that holds what folded processes carried. It
// sorts the entries.
func EncodeBase(all []Entry, folds Folds) ([]byte, error) {
	m := &signalboxv1.TallyBase{Entries: entriesOf(all)}
	for _, p := range slices.SortedFunc(maps.Keys(folds), Process.Compare) {
		m.Folds = append(m.Folds, &signalboxv1.TallyFold{Node: p.Node, Epoch: p.Epoch, Until: timestamppb.New(folds[p])})
	}
	return proto.Marshal(m)
}

func entriesOf(all []Entry) []*signalboxv1.TallyEntry {
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Created, b.Created))
	})
	entries := make([]*signalboxv1.TallyEntry, len(all))
	for i := range all {
		c := &all[i]
		name, instance := c.Subject.Name()
		entries[i] = &signalboxv1.TallyEntry{Route: name, CreatedRevision: c.Created, LastActivity: c.Counts.Activity()}
		if instance {
			entries[i].Instance = c.Counts.InstanceCounters()
		} else {
			entries[i].Counters = c.Counts.Counters()
		}
	}
	return entries
}

// DecodeChunk is the reverse of EncodeChunk. With an error it returns what can
// be used all the same.
func DecodeChunk(bucket int, value []byte) ([]Entry, error) {
	var m signalboxv1.TallyChunk
	if err := proto.Unmarshal(value, &m); err != nil {
		return nil, err
	}
	return readable(bucket, m.GetEntries())
}

// DecodeBase is the reverse of EncodeBase. It is all or nothing: a sum of
// which a part is missing is no sum.
func DecodeBase(bucket int, value []byte) ([]Entry, Folds, error) {
	var m signalboxv1.TallyBase
	if err := proto.Unmarshal(value, &m); err != nil {
		return nil, nil, err
	}
	all, err := readable(bucket, m.GetEntries())
	if err != nil {
		return nil, nil, err
	}
	folds := make(Folds, len(m.GetFolds()))
	for _, f := range m.GetFolds() {
		if f.GetNode() == "" || !f.GetUntil().IsValid() {
			return nil, nil, fmt.Errorf("fold of node %.100q has no name, or no time until which it holds", f.GetNode())
		}
		folds[Process{f.GetNode(), f.GetEpoch()}] = f.GetUntil().AsTime()
	}
	return all, folds, nil
}

// readable leaves out entries that are for another bucket or of what cannot
// be, and returns an error if there are any.
func readable(bucket int, entries []*signalboxv1.TallyEntry) ([]Entry, error) {
	all := make([]Entry, 0, len(entries))
	var err error
	for _, e := range entries {
		c := Entry{Subject: Subject(e.GetRoute()), Created: e.GetCreatedRevision(), Counts: CountsOf(e.GetCounters(), e.GetLastActivity())}
		if e.GetInstance() != nil {
			c.Subject, c.Counts = Instance(e.GetRoute()), CountsOfInstance(e.GetInstance(), e.GetLastActivity())
		}
		if !c.Subject.Valid() || c.Created <= 0 || c.Subject.Bucket() != bucket {
			err = fmt.Errorf("entry of %.100q, created at revision %d, does not belong here", e.GetRoute(), c.Created)
			continue
		}
		all = append(all, c)
	}
	return all, err
}

// rememberProcesses bounds how many of one node's processes a base remembers,
// should the node start anew again and again. It is far above what one
// transaction folds, so that what was folded just now is never left out.
const rememberProcesses = 1000

// With returns the folds with more among them, and without those that need not
// be remembered: their time has come, or very many newer processes of the node
// are among them.
func (f Folds) With(more Folds, now time.Time) Folds {
	all := make(Folds, len(f)+len(more))
	for p, until := range f {
		if until.After(now) {
			all[p] = until
		}
	}
	maps.Copy(all, more)
	left := map[string]int{}
	for _, p := range slices.Backward(slices.SortedFunc(maps.Keys(all), Process.Compare)) {
		if left[p.Node]++; left[p.Node] > rememberProcesses {
			delete(all, p)
		}
	}
	return all
}

package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// writing is what Commit, Read and Head promise.
var writing = []promise{
	{"a new store has a version and no records", func(t *testing.T, s Subject) {
		v := head(t, s)
		if v.Epoch == "" || v.Revision <= 0 {
			t.Errorf("head is %+v, want an epoch and a revision", v)
		}
		if r := read(t, s, "a"); r != nil {
			t.Errorf("read %v from an empty store", r)
		}
		if other := head(t, s.Other); other != v {
			t.Errorf("head is %+v through one way and %+v through another", v, other)
		}
	}},
	{"what was written is read back with its revisions", func(t *testing.T, s Subject) {
		first := commit(t, s, put(Route("a", "one")))
		r := read(t, s.Other, "a")
		if target(r) != "one" || r.Created != first || r.Modified != first {
			t.Fatalf("read %v, want what was written at %d", r, first)
		}
		second := commit(t, s, put(Route("a", "two")))
		r = read(t, s.Other, "a")
		if target(r) != "two" || r.Created != first || r.Modified != second {
			t.Errorf("read %v, want what was written at %d, created at %d", r, second, first)
		}
		meta := r.Message.(*signalboxv1.Route).GetMeta()
		if meta.GetRevision() != int64(second) || meta.GetCreatedRevision() != int64(first) {
			t.Errorf("the message says %v", meta)
		}
	}},
	{"revisions grow and are what head says", func(t *testing.T, s Subject) {
		before := head(t, s)
		for i := range 5 {
			rev := commit(t, s, put(Route(fmt.Sprint(i), "one")))
			after := head(t, s.Other)
			if rev <= before.Revision || after.Revision != rev || after.Epoch != before.Epoch {
				t.Fatalf("head was %+v, the commit %d, head is %+v", before, rev, after)
			}
			before = after
		}
	}},
	{"a record written again after its removal is a new one", func(t *testing.T, s Subject) {
		commit(t, s, put(Route("a", "one")))
		commit(t, s, store.Txn{Delete: []store.Key{key("a")}})
		if r := read(t, s, "a"); r != nil {
			t.Fatalf("read %v after its removal", r)
		}
		rev := commit(t, s, put(Route("a", "two")))
		if r := read(t, s, "a"); r == nil || r.Created != rev {
			t.Errorf("read %v, want one created at %d", r, rev)
		}
	}},
	{"every kind of record is kept", func(t *testing.T, s Subject) {
		all := []store.Record{
			Route("a", "one"),
			{Key: store.Key{Kind: store.KindListener, Name: "a"}, Message: &signalboxv1.Listener{Name: "a"}},
			{Key: store.Key{Kind: store.KindNode, Name: "a"}, Message: &signalboxv1.Node{Name: "a"}},
			{Key: store.Key{Kind: store.KindAPIKey, Name: "a"}, Message: &signalboxv1.ApiKeyRecord{Hash: []byte{1}}},
		}
		rev := commit(t, s, put(all...))
		for _, want := range all {
			found, _, err := s.Read(within(t), want.Key)
			if err != nil || found[0] == nil || found[0].Modified != rev {
				t.Fatalf("%s: %v, %v", want.Key, found, err)
			}
		}
		found, _, _ := s.Read(within(t), all[3].Key)
		if m := found[0].Message.(*signalboxv1.ApiKeyRecord); m.GetKey().GetMeta().GetRevision() != int64(rev) || len(m.GetHash()) != 1 {
			t.Errorf("the api key is %v", m)
		}
	}},
	{"many records are read at one version, in the order asked for", func(t *testing.T, s Subject) {
		var keys []store.Key
		for i := range 3 {
			var some []store.Record
			for j := range 100 {
				some = append(some, Route(fmt.Sprintf("%d-%d", i, j), fmt.Sprint(i, j)))
				keys = append(keys, some[j].Key)
			}
			commit(t, s, put(some...))
		}
		keys = append(keys, key("none"))
		slices.Reverse(keys)
		found, v, err := s.Read(within(t), keys...)
		if err != nil || len(found) != len(keys) || v != head(t, s) {
			t.Fatalf("read %d records at %+v, %v; head is %+v", len(found), v, err, head(t, s))
		}
		if found[0] != nil {
			t.Errorf("read %v under a key that does not exist", found[0])
		}
		for i := 1; i < len(keys); i++ {
			if found[i] == nil || found[i].Key != keys[i] {
				t.Fatalf("under %s is %v", keys[i], found[i])
			}
		}
		if _, v, err := s.Read(within(t)); err != nil || v != head(t, s) {
			t.Errorf("reading nothing gives %+v, %v", v, err)
		}
	}},
	{"what was written together is read together, however many are read", func(t *testing.T, s Subject) {
		keys := []store.Key{key("first")}
		for i := range 2 * store.MaxOps {
			keys = append(keys, key(fmt.Sprint(i)))
		}
		keys = append(keys, key("last"))
		commit(t, s, put(Route("first", "0"), Route("last", "0")))
		written := make(chan struct{})
		go func() {
			defer close(written)
			for i := range 50 {
				if _, err := s.Other.Commit(within(t), put(Route("first", fmt.Sprint(i)), Route("last", fmt.Sprint(i)))); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		}()
		for done := false; !done; {
			select {
			case <-written:
				done = true
			default:
			}
			found, v, err := s.Read(within(t), keys...)
			if err != nil {
				t.Fatalf("read: %v", err)
			}
			first, last := found[0], found[len(found)-1]
			if target(first) != target(last) || first.Modified != v.Revision || last.Modified != v.Revision {
				t.Errorf("at %+v were read %v and %v", v, first, last)
			}
		}
		if r := read(t, s, "last"); target(r) != "49" {
			t.Errorf("at last there is %v", r)
		}
	}},
	{"a stale write is refused, says what was found and changes nothing", func(t *testing.T, s Subject) {
		first := commit(t, s, put(Route("a", "one")))
		second := commit(t, s, store.Txn{
			If:  []store.Condition{{Key: key("a"), Modified: first}},
			Put: []store.Record{Route("a", "two")},
		})
		_, err := s.Commit(within(t), store.Txn{
			If:  []store.Condition{{Key: key("a"), Modified: first}},
			Put: []store.Record{Route("a", "three")},
		})
		wantConflict(t, err, store.ConflictError{Key: key("a"), Modified: second})
		if r := read(t, s, "a"); target(r) != "two" || head(t, s).Revision != second {
			t.Errorf("read %v at %+v, want the second write to stand", r, head(t, s))
		}
	}},
	{"a condition can ask that there is no record", func(t *testing.T, s Subject) {
		create := store.Txn{If: []store.Condition{{Key: key("a")}}, Put: []store.Record{Route("a", "one")}}
		rev := commit(t, s, create)
		_, err := s.Commit(within(t), create)
		wantConflict(t, err, store.ConflictError{Key: key("a"), Modified: rev})

		_, err = s.Commit(within(t), store.Txn{
			If:     []store.Condition{{Key: key("b"), Modified: rev}},
			Delete: []store.Key{key("b")},
		})
		wantConflict(t, err, store.ConflictError{Key: key("b")})
	}},
	{"one condition that does not hold stops the whole transaction", func(t *testing.T, s Subject) {
		rev := commit(t, s, put(Route("a", "one"), Route("b", "one")))
		_, err := s.Commit(within(t), store.Txn{
			If:      []store.Condition{{Key: key("a"), Modified: rev}, {Key: key("b"), Modified: rev - 1}, {Key: key("c"), Modified: 1}},
			Put:     []store.Record{Route("a", "two")},
			Delete:  []store.Key{key("b")},
			Claim:   []store.Claim{{Name: "x", Holder: key("a")}},
			Release: []string{"y"},
		})
		wantConflict(t, err, store.ConflictError{Key: key("b"), Modified: rev})
		if target(read(t, s, "a")) != "one" || target(read(t, s, "b")) != "one" {
			t.Error("something was written")
		}
		commit(t, s, store.Txn{Put: []store.Record{Route("c", "one")}, Claim: []store.Claim{{Name: "x", Holder: key("c")}}})
	}},
	{"a claim is held by one record until it is given back", func(t *testing.T, s Subject) {
		claim := func(name string) store.Txn {
			return store.Txn{
				Put:   []store.Record{Route(name, "one")},
				Claim: []store.Claim{{Name: "match /x", Holder: key(name)}},
			}
		}
		commit(t, s, claim("a"))
		_, err := s.Other.Commit(within(t), claim("b"))
		wantConflict(t, err, store.ConflictError{Key: key("a"), Claim: "match /x"})
		if r := read(t, s, "b"); r != nil {
			t.Errorf("the refused transaction wrote %v", r)
		}
		commit(t, s, put(Route("a", "two"))) // keeps its claim
		_, err = s.Commit(within(t), claim("b"))
		wantConflict(t, err, store.ConflictError{Key: key("a"), Claim: "match /x"})

		commit(t, s, store.Txn{Delete: []store.Key{key("a")}, Release: []string{"match /x", "nobody's"}})
		commit(t, s, claim("b"))
	}},
	{"of many who race for one claim exactly one wins", func(t *testing.T, s Subject) {
		const racers = 16
		errs := make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				k := []Keeper{s.Keeper, s.Other}[i%2]
				_, errs[i] = k.Commit(within(t), store.Txn{
					Put:   []store.Record{Route(fmt.Sprint(i), "one")},
					Claim: []store.Claim{{Name: "x", Holder: key(fmt.Sprint(i))}},
				})
			})
		}
		wg.Wait()
		winner := slices.Index(errs, nil)
		for i, err := range errs {
			if written := read(t, s, fmt.Sprint(i)) != nil; written != (i == winner) {
				t.Errorf("racer %d of whom %d won: written %t, err %v", i, winner, written, err)
			}
			if i != winner {
				wantConflict(t, err, store.ConflictError{Key: key(fmt.Sprint(winner)), Claim: "x"})
			}
		}
	}},
	{"what the caller changes after a write is not changed in the store", func(t *testing.T, s Subject) {
		r := Route("a", "one")
		commit(t, s, put(r))
		r.Message.(*signalboxv1.Route).Upstreams[0].Url = "http://two"
		if got := target(read(t, s, "a")); got != "one" {
			t.Errorf("the store has %q", got)
		}
	}},
	{"what a message says of its own revisions is ignored", func(t *testing.T, s Subject) {
		r := Route("a", "one")
		r.Created, r.Modified = 77, 78
		r.Message.(*signalboxv1.Route).Meta = &signalboxv1.Meta{Revision: 79, CreatedRevision: 80}
		given := proto.Clone(r.Message)
		rev := commit(t, s, put(r))
		got := read(t, s, "a")
		meta := got.Message.(*signalboxv1.Route).GetMeta()
		if got.Created != rev || got.Modified != rev || meta.GetRevision() != int64(rev) || meta.GetCreatedRevision() != int64(rev) {
			t.Errorf("read %v", got)
		}
		if !proto.Equal(given, r.Message) {
			t.Errorf("the caller's message became %v", r.Message)
		}
	}},
	{"head never says less than what was committed before, anywhere", func(t *testing.T, s Subject) {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				ways := []Keeper{s.Keeper, s.Other}
				for j := range 20 {
					rev, err := ways[(i+j)%2].Commit(within(t), put(Route(fmt.Sprint(i), fmt.Sprint(j))))
					if err != nil {
						t.Errorf("commit: %v", err)
						return
					}
					v, err := ways[(i+j+1)%2].Head(within(t))
					if err != nil || v.Revision < rev {
						t.Errorf("committed %d, then head is %+v, %v", rev, v, err)
					}
				}
			})
		}
		wg.Wait()
	}},
}

// wantConflict checks that err is a conflict and says this.
func wantConflict(t *testing.T, err error, want store.ConflictError) {
	t.Helper()
	var got *store.ConflictError
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want a conflict: %v", err, &want)
	}
	if *got != want {
		t.Errorf("the conflict is %+v, want %+v", *got, want)
	}
}

package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// limiting is what is refused, and what is not.
var limiting = []promise{
	{"a transaction may be as large as the limits and no larger", func(t *testing.T, s Subject) {
		var txn store.Txn
		for i := range store.MaxOps - 1 {
			name := fmt.Sprintf("%s%03d", strings.Repeat("n", 1000), i)
			txn.Put = append(txn.Put, Route(name, "one"))
			txn.If = append(txn.If, store.Condition{Key: key(name)})
		}
		commit(t, s, txn)
		before := head(t, s)

		txn.If = nil
		txn.Put = append(txn.Put, Route("more", "one"))
		_, err := s.Commit(within(t), txn)
		wantLimit(t, err, "changes", store.MaxOps, store.MaxOps-1)

		txn = put(Route("a", "one"))
		for i := range store.MaxOps + 1 {
			txn.If = append(txn.If, store.Condition{Key: key(fmt.Sprint(i))})
		}
		_, err = s.Commit(within(t), txn)
		wantLimit(t, err, "conditions", store.MaxOps+1, store.MaxOps)

		if after := head(t, s); after != before || read(t, s, "a") != nil {
			t.Errorf("head was %+v and is %+v after refusals", before, after)
		}
	}},
	{"claims count as changes and as conditions", func(t *testing.T, s Subject) {
		txn := put(Route("a", "one"))
		for i := range store.MaxOps - 2 {
			txn.Claim = append(txn.Claim, store.Claim{Name: strings.Repeat("n", 1000) + fmt.Sprint(i), Holder: key("a")})
		}
		txn.If = []store.Condition{{Key: key("a")}, {Key: key("b")}}
		commit(t, s, txn)

		txn.If = append(txn.If, store.Condition{Key: key("c")})
		_, err := s.Commit(within(t), txn)
		wantLimit(t, err, "conditions", store.MaxOps+1, store.MaxOps)

		txn.If = nil
		txn.Release = []string{"x"}
		_, err = s.Commit(within(t), txn)
		wantLimit(t, err, "changes", store.MaxOps, store.MaxOps-1)
	}},
	{"a record may be almost as large as the limit and no larger", func(t *testing.T, s Subject) {
		txn := func(size int) store.Txn {
			r := Route("a", "one")
			r.Message.(*signalboxv1.Route).Data = strings.Repeat("d", size)
			return put(r)
		}
		rev := commit(t, s, txn(store.MaxBytes-1000))
		r := read(t, s, "a")
		if got := len(r.Message.(*signalboxv1.Route).GetData()); got != store.MaxBytes-1000 {
			t.Errorf("read %d bytes", got)
		}
		for _, size := range []int{store.MaxBytes, 2 * store.MaxBytes, 4 * store.MaxBytes} {
			_, err := s.Commit(within(t), txn(size))
			var limit *store.LimitError
			if !errors.As(err, &limit) || limit.What != "bytes" || limit.Got < size || limit.Limit != store.MaxBytes {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		if after := head(t, s); after.Revision != rev {
			t.Errorf("head is %+v after refusals, want %d", after, rev)
		}
	}},
	{"names may hold any text", func(t *testing.T, s Subject) {
		names := []string{
			"a", "a/b", "a//b", "a/b/", "/", " ", "%2F", "%", "ü/日本", "..", "a b", "epoch", "head",
			"*", "?#[]", "\"'\\", "\U0001F686", strings.Repeat("n", 1024),
		}
		f := follow(t, s)
		whole(f)
		for _, name := range names {
			rev := commit(t, s, store.Txn{
				If:    []store.Condition{{Key: key(name)}},
				Put:   []store.Record{Route(name, "one")},
				Claim: []store.Claim{{Name: name, Holder: key(name)}},
			})
			if c := step(f); len(c.Put) != 1 || c.Put[0].Key != key(name) || c.Version.Revision != rev {
				t.Errorf("%q was followed as %v", name, c)
			}
		}
		all := whole(follow(t, s.Other))
		if len(all.Put) != len(names) {
			t.Errorf("listed %d of %d", len(all.Put), len(names))
		}
		for _, name := range names {
			if r := read(t, s, name); target(r) != "one" || r.Key != key(name) {
				t.Errorf("%q was read as %v", name, r)
			}
			_, err := s.Commit(within(t), store.Txn{
				Put:   []store.Record{Route("x", "one")},
				Claim: []store.Claim{{Name: name, Holder: key("x")}},
			})
			wantConflict(t, err, store.ConflictError{Key: key(name), Claim: name})
			commit(t, s, store.Txn{Delete: []store.Key{key(name)}, Release: []string{name}})
		}
		if all := whole(follow(t, s)); len(all.Put) != 0 {
			t.Errorf("left over: %v", all.Put)
		}
	}},
	{"a transaction that makes no sense is refused, and said to", func(t *testing.T, s Subject) {
		before := head(t, s)
		a := Route("a", "one")
		listener := &signalboxv1.Listener{Name: "a"}
		for want, txn := range map[string]store.Txn{
			"neither puts nor deletes":             {Release: []string{"x"}},
			`record "route/a" is given twice`:      {Put: []store.Record{a}, Delete: []store.Key{a.Key}},
			`claim "x" is given twice`:             {Put: []store.Record{a}, Claim: []store.Claim{{Name: "x", Holder: a.Key}}, Release: []string{"x"}},
			`condition on "route/a" is given`:      {Put: []store.Record{a}, If: []store.Condition{{Key: a.Key}, {Key: a.Key, Modified: 1}}},
			`kind "train" is not known`:            put(store.Record{Key: store.Key{Kind: "train", Name: "a"}, Message: listener}),
			"message is a signalbox.v1.Listener":   put(store.Record{Key: a.Key, Message: listener}),
			"there is no message":                  put(store.Record{Key: a.Key}),
			"a route has no name":                  {Delete: []store.Key{{Kind: store.KindRoute}}},
			"a claim has no name":                  {Put: []store.Record{a}, Release: []string{""}},
			`record "route/\xff" is not UTF-8`:     {Delete: []store.Key{key("\xff")}},
			`condition on "route/\xff" is not UTF`: {Put: []store.Record{a}, If: []store.Condition{{Key: key("\xff")}}},
		} {
			_, err := s.Commit(within(t), txn)
			if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, store.ErrUnavailable) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		if after := head(t, s); after != before {
			t.Errorf("head was %+v and is %+v after refusals", before, after)
		}
	}},
}

// wantLimit checks that err says that a transaction is too large.
func wantLimit(t *testing.T, err error, what string, got, limit int) {
	t.Helper()
	var e *store.LimitError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a limit of %s", err, what)
	}
	if want := (store.LimitError{What: what, Got: got, Limit: limit}); *e != want {
		t.Errorf("got %+v, want %+v", *e, want)
	}
}

package store_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A key's text names that key and no other, whatever the record is called.
func FuzzKey(f *testing.F) {
	for _, name := range []string{"a", "a/b", "/", "a/", "", " ", "%2F", "\xff"} {
		f.Add("route", name)
	}
	f.Fuzz(func(t *testing.T, kind, name string) {
		if kind == "" || name == "" || strings.Contains(kind, "/") {
			return
		}
		want := store.Key{Kind: store.Kind(kind), Name: name}
		if got, ok := store.ParseKey(want.String()); !ok || got != want {
			t.Errorf("%#v became %q and then %#v, %t", want, want.String(), got, ok)
		}
	})
}

// Whatever bytes there are under a key, they are a record, which is encoded to
// the same again, or an error.
func FuzzDecode(f *testing.F) {
	kinds := []store.Kind{store.KindRoute, store.KindListener, store.KindNode, store.KindAPIKey, "train"}
	for i := range kinds {
		f.Add(i, []byte("\x0a\x01a"))
		f.Add(i, []byte("\xff"))
		f.Add(i, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, kind int, value []byte) {
		key := store.Key{Kind: kinds[uint(kind)%uint(len(kinds))], Name: "a"}
		r, err := store.Decode(key, value, 1, 2)
		if err != nil {
			return
		}
		again, err := store.Encode(r)
		if err != nil {
			t.Fatalf("%v was decoded and cannot be encoded: %v", r, err)
		}
		r2, err := store.Decode(key, again, 1, 2)
		if err != nil || !proto.Equal(r.Message, r2.Message) {
			t.Errorf("%v became %v, %v", r, r2, err)
		}
	})
}

func TestKeysAreOrderedAsTheirTexts(t *testing.T) {
	keys := []store.Key{
		{Kind: store.KindAPIKey, Name: "z"}, {Kind: store.KindListener, Name: "a"},
		{Kind: store.KindNode, Name: "a"}, {Kind: store.KindRoute, Name: " "},
		{Kind: store.KindRoute, Name: "a"}, {Kind: store.KindRoute, Name: "a b"}, {Kind: store.KindRoute, Name: "a/b"},
	}
	for i := range len(keys) - 1 {
		if keys[i].Compare(keys[i+1]) >= 0 || keys[i].String() >= keys[i+1].String() {
			t.Errorf("%s is not before %s", keys[i], keys[i+1])
		}
	}
}

func TestATransactionsSizeIsThatOfAllItHolds(t *testing.T) {
	route := func(data string) store.Record {
		return store.Record{Key: store.Key{Kind: store.KindRoute, Name: "a"}, Message: &signalboxv1.Route{Data: data}}
	}
	small, err := store.Txn{Put: []store.Record{route("")}}.Encode()
	if err != nil || len(small) != 1 {
		t.Fatalf("%v, %v", small, err)
	}
	if _, err := (store.Txn{Put: []store.Record{route(string(make([]byte, store.MaxBytes-500)))}}).Encode(); err != nil {
		t.Errorf("500 bytes below the limit: %v", err)
	}
	// The same with claims whose names make it too large.
	txn := store.Txn{Put: []store.Record{route(string(make([]byte, store.MaxBytes-500)))}}
	txn.Claim = []store.Claim{{Name: string(make([]byte, 200)), Holder: txn.Put[0].Key}}
	if _, err := txn.Encode(); err == nil {
		t.Error("a claim counts nothing")
	}
}

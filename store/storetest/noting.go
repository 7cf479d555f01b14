package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// noting is what PutNotes and FollowNotes promise.
var noting = []promise{
	{"notes are followed by their prefix, first all and then each change", func(t *testing.T, s Subject) {
		putNotes(t, s, note("a/2", "one"), note("a/1", "one"), note("b/1", "one"))
		f := followNotes(t, s.Other, "a/")
		if c := wholeNotes(f); !slices.Equal(texts(c.Put), []string{"a/1=one", "a/2=one"}) {
			t.Errorf("the whole is %v", texts(c.Put))
		}
		putNotes(t, s, note("b/1", "two"))
		if err := s.PutNotes(within(t), []store.Note{note("a/3", "two"), note("b/2", "two")}, []string{"a/1", "b/1", "a/none"}); err != nil {
			t.Fatal(err)
		}
		c := f.next()
		if c.Whole || !slices.Equal(texts(c.Put), []string{"a/3=two"}) || !slices.Equal(c.Gone, []string{"a/1"}) {
			t.Errorf("the change is %+v", c)
		}
	}},
	{"notes are written only if others are as they were", func(t *testing.T, s Subject) {
		create := store.NoteCondition{Name: "a"}
		if err := s.PutNotes(within(t), []store.Note{note("a", "one")}, nil, create); err != nil {
			t.Fatal(err)
		}
		f := followNotes(t, s, "")
		is := wholeNotes(f).Put[0].Modified
		err := s.PutNotes(within(t), []store.Note{note("a", "two"), note("b", "two")}, nil, create)
		wantConflict(t, err, store.ConflictError{Note: "a", Modified: is})

		if err := s.PutNotes(within(t), []store.Note{note("a", "three")}, nil, store.NoteCondition{Name: "a", Modified: is}); err != nil {
			t.Fatal(err)
		}
		c := f.next()
		if !slices.Equal(texts(c.Put), []string{"a=three"}) || c.Put[0].Modified <= is {
			t.Errorf("the change is %+v, the note was at %d", c, is)
		}
		err = s.PutNotes(within(t), nil, []string{"a"}, store.NoteCondition{Name: "a", Modified: is})
		wantConflict(t, err, store.ConflictError{Note: "a", Modified: c.Put[0].Modified})
	}},
	{"a follower of notes who lost history is given all notes", func(t *testing.T, s Subject) {
		putNotes(t, s, note("a", "one"), note("b", "one"))
		f := followNotes(t, s, "")
		wholeNotes(f)
		s.Cut(t)
		if err := s.Other.PutNotes(within(t), []store.Note{note("b", "two")}, []string{"a"}); err != nil {
			t.Fatal(err)
		}
		putNotes(t, s.Other, note("b", "three"))
		s.Compact(t)
		s.Mend(t)
		if c := wholeNotes(f); !slices.Equal(texts(c.Put), []string{"b=three"}) {
			t.Errorf("the whole is %v", texts(c.Put))
		}
	}},
	{"too many or too large notes are refused", func(t *testing.T, s Subject) {
		var many []store.Note
		for i := range store.MaxOps {
			many = append(many, note(fmt.Sprint(i), "one"))
		}
		putNotes(t, s, many...)
		err := s.PutNotes(within(t), many, []string{"x"})
		wantLimit(t, err, "changes", store.MaxOps+1, store.MaxOps)

		putNotes(t, s, note("a", strings.Repeat("v", store.MaxBytes-1000)))
		for _, size := range []int{store.MaxBytes, 4 * store.MaxBytes} {
			var limit *store.LimitError
			err := s.PutNotes(within(t), []store.Note{note("a", strings.Repeat("v", size))}, nil)
			if !errors.As(err, &limit) || limit.What != "bytes" {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		if err := s.PutNotes(within(t), nil, nil); err == nil {
			t.Error("writing nothing is no error")
		}
		if err := s.PutNotes(within(t), many[:1], []string{many[0].Name}); err == nil {
			t.Error("a name given twice is no error")
		}
	}},
	{"a note's value is copied both ways", func(t *testing.T, s Subject) {
		value := []byte("one")
		putNotes(t, s, store.Note{Name: "a", Value: value})
		value[0] = 'X'
		if c := wholeNotes(followNotes(t, s, "")); string(c.Put[0].Value) != "one" {
			t.Errorf("the note is %q", c.Put[0].Value)
		}
	}},
	{"a note without bytes is a note", func(t *testing.T, s Subject) {
		putNotes(t, s, store.Note{Name: "a"})
		if c := wholeNotes(followNotes(t, s, "")); len(c.Put) != 1 || len(c.Put[0].Value) != 0 {
			t.Errorf("the whole is %v", c)
		}
	}},
}

func note(name, value string) store.Note { return store.Note{Name: name, Value: []byte(value)} }

// texts is notes as "name=value".
func texts(notes []store.Note) []string {
	var all []string
	for _, n := range notes {
		all = append(all, n.Name+"="+string(n.Value))
	}
	return all
}

// putNotes writes notes that stay, or fails the test.
func putNotes(t *testing.T, s store.Notes, notes ...store.Note) {
	t.Helper()
	if err := s.PutNotes(within(t), notes, nil); err != nil {
		t.Fatalf("put notes: %v", err)
	}
}

func nodeMessage(name string) proto.Message { return &signalboxv1.Node{Name: name} }

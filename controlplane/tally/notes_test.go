package tally

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/tally/checkpoint"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

var (
	now  = time.Unix(1_800_000_000, 0)
	inA  = checkpoint.Subject("a").Bucket()
	base = checkpoint.Address{Bucket: inA, Base: true}.Name()
	// chunkOne is the chunk of node one's first process with route a.
	chunkOne = checkpoint.Address{Bucket: inA, Process: checkpoint.Process{Node: "one", Epoch: 1}}.Name()
)

// logged returns a book, and what it logs.
func logged() (*Book, *bytes.Buffer) {
	var log bytes.Buffer
	return New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))}), &log
}

// commit makes all writes of a book's, and hands them on to it.
func commit(t *testing.T, l *ledger, b *Book, writes []write) {
	t.Helper()
	for _, w := range writes {
		if err := l.put(w); err != nil {
			t.Fatal(err)
		}
		b.Apply(l.changes[len(l.changes)-1])
	}
}

func changed(b *Book) []write {
	writes, _ := b.changed(now, 1<<30, nil)
	return writes
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestAChunkThatCannotBeReadIsLeftOutAndReplaced(t *testing.T) {
	elsewhere := &signalboxv1.TallyEntry{Route: "b", CreatedRevision: 1}
	for name, value := range map[string][]byte{
		"garbage":           []byte("\xff\xff\xff"),
		"of another bucket": marshal(t, &signalboxv1.TallyChunk{Entries: []*signalboxv1.TallyEntry{elsewhere}}),
		"without a name":    marshal(t, &signalboxv1.TallyChunk{Entries: []*signalboxv1.TallyEntry{{CreatedRevision: 1}}}),
	} {
		b, log := logged()
		l := &ledger{notes: map[string]store.Note{}}
		say(b, "one", 1, heard("a", 7, 5))
		if err := l.put(write{put: []store.Note{{Name: chunkOne, Value: value}}}); err != nil {
			t.Fatal(err)
		}
		b.Apply(l.whole())
		wantRequests(t, b, "a", 7, 5)
		if !strings.Contains(log.String(), chunkOne) {
			t.Errorf("%s: the log says %q", name, log)
		}
		commit(t, l, b, changed(b))
		again := New(Config{})
		again.Apply(l.whole())
		wantRequests(t, again, "a", 7, 5)
	}
}

func TestABaseThatCannotBeReadIsNotWritten(t *testing.T) {
	b, log := logged()
	l := &ledger{notes: map[string]store.Note{}}
	b.Apply(l.whole())
	say(b, "zero", 1, heard("a", 7, 3))
	commit(t, l, b, b.folds(now, 1<<30, map[*source]time.Time{b.source("zero", 1): now.Add(time.Hour)}))
	say(b, "one", 1, heard("a", 7, 5))
	if err := l.put(write{put: []store.Note{{Name: base, Value: []byte("\xff")}}}); err != nil {
		t.Fatal(err)
	}
	b.Apply(l.changes[len(l.changes)-1])
	wantRequests(t, b, "a", 7, 8)
	if !strings.Contains(log.String(), base) {
		t.Errorf("the log says %q", log)
	}
	due := map[*source]time.Time{b.source("one", 1): now.Add(time.Hour)}
	if writes := b.folds(now, 1<<30, due); len(writes) != 0 {
		t.Errorf("something is folded: %v", writes)
	}
	k := &b.buckets[inA]
	b.touch(inA, k.chunk(b.base)) // as when one of its routes is removed
	writes := changed(b)
	if len(writes) != 1 || writes[0].put[0].Name != chunkOne {
		t.Errorf("%v is written, want the chunk alone", writes)
	}
	commit(t, l, b, writes)

	if err := l.put(write{gone: []string{base}}); err != nil { // as an operator would
		t.Fatal(err)
	}
	b.Apply(l.changes[len(l.changes)-1])
	wantRequests(t, b, "a", 7, 5)
	commit(t, l, b, b.folds(now, 1<<30, due))
	wantRequests(t, b, "a", 7, 5)
}

func TestNotesOfNobodysNameAreLeftOut(t *testing.T) {
	b, log := logged()
	b.Apply(store.NoteChange{Whole: true, Put: []store.Note{{Name: "tally/node/zzz/1/one"}, {Name: "tally/new"}}})
	b.Apply(store.NoteChange{Gone: []string{"tally/new", chunkOne, base}})
	if n := strings.Count(log.String(), "left out"); n != 2 {
		t.Errorf("the log says %q", log)
	}
	if n := len(b.sources); n != 1 {
		t.Errorf("%d processes are known", n)
	}
}

func TestAWriteThatWasUndoneBeforeItWasSeenIsMadeAgain(t *testing.T) {
	b, l := New(Config{}), &ledger{notes: map[string]store.Note{}}
	b.Apply(l.whole())
	say(b, "one", 1, heard("a", 7, 5))
	if err := l.put(changed(b)[0]); err != nil {
		t.Fatal(err)
	}
	if err := l.put(write{gone: []string{chunkOne}}); err != nil {
		t.Fatal(err)
	}
	b.Apply(l.whole())
	commit(t, l, b, changed(b))
	if _, there := l.notes[chunkOne]; !there {
		t.Error("the chunk is not there")
	}
}

// folded returns a ledger in which a process was folded, its chunk as it was,
// and a book that has not followed that.
func folded(t *testing.T) (l *ledger, chunk write, late *Book) {
	t.Helper()
	l = &ledger{notes: map[string]store.Note{}}
	b, late := New(Config{}), New(Config{})
	b.Apply(l.whole())
	late.Apply(l.whole())
	say(b, "one", 1, heard("a", 7, 5))
	say(late, "one", 1, heard("a", 7, 5))
	writes := changed(b)
	commit(t, l, b, writes)
	commit(t, l, b, b.folds(now, 1<<30, map[*source]time.Time{b.source("one", 1): now.Add(time.Hour)}))
	return l, writes[0], late
}

func TestAFoldedProcessIsNotWrittenAgainByWhoHasNotSeenTheFold(t *testing.T) {
	l, _, late := folded(t)
	writes := changed(late)
	if len(writes) != 1 {
		t.Fatalf("%d writes, want one", len(writes))
	}
	if err := l.put(writes[0]); err == nil {
		t.Error("the chunk was written")
	}
	late.failed(writes)
	late.Apply(l.whole())
	wantRequests(t, late, "a", 7, 5)
	if writes := changed(late); len(writes) != 0 {
		t.Errorf("%v would be written", writes)
	}
}

func TestAChunkThatAppearsAfterItsFoldIsNotCountedAndRemoved(t *testing.T) {
	l, chunk, _ := folded(t)
	chunk.unless = nil
	if err := l.put(chunk); err != nil {
		t.Fatal(err)
	}
	b := New(Config{})
	b.Apply(l.whole())
	wantRequests(t, b, "a", 7, 5)
	commit(t, l, b, changed(b))
	if _, there := l.notes[chunkOne]; there {
		t.Error("the chunk is still there")
	}
	wantRequests(t, b, "a", 7, 5)
}

func TestANoteThatIsTooLargeIsNotWrittenAndDoesNotHoldUpOthers(t *testing.T) {
	b, log := logged()
	l := &ledger{notes: map[string]store.Note{}}
	b.Apply(l.whole())
	say(b, "one", 1, heard("a", 7, 5))
	full := &b.buckets[inA+1] // with names that have other hashes, for want of time to find some
	one, some := b.source("one", 1), checkpoint.CountsOf(&signalboxv1.RouteCounters{Requests: 1}, nil)
	for i := range store.MaxBytes / checkpoint.MaxRouteName {
		inc := full.add(checkpoint.Subject(fmt.Sprintf("%0*d", checkpoint.MaxRouteName, i)), 7)
		inc.raise(inc.addEntry(one), &some)
	}
	b.touch(inA+1, full.addChunk(one))
	writes := changed(b)
	if len(writes) != 1 || writes[0].put[0].Name != chunkOne {
		t.Errorf("%d writes, want that of a alone", len(writes))
	}
	b.failed(writes)
	due := map[*source]time.Time{b.source("one", 1): now.Add(time.Hour)}
	if writes := b.folds(now, 1<<30, due); len(writes) != 1 || writes[0].put[0].Name != base {
		t.Errorf("%d buckets are folded, want that of a alone", len(writes))
	}
	if n := strings.Count(log.String(), "in memory only"); n != 2 {
		t.Errorf("the log says %q", log)
	}
}

func TestTheCostOfACheckpointFollowsWhatChanged(t *testing.T) {
	const routes = 100_000
	b := New(Config{})
	l := &ledger{notes: map[string]store.Note{}}
	b.Apply(l.whole())
	report := make([]*signalboxv1.RouteReport, routes)
	for i := range report {
		report[i] = heard(fmt.Sprintf("chp/user/name-%d", i), int64(i+1), 1_000_000)
	}
	b.Report("one", 1, report)
	all := changed(b)
	if len(all) != checkpoint.Buckets {
		t.Errorf("%d writes, want every bucket", len(all))
	}
	commit(t, l, b, all)

	for _, r := range report[:10] {
		r.Counters.Requests++
	}
	b.Report("one", 1, report)
	writes := changed(b)
	size := 0
	for _, w := range writes {
		size += w.size()
	}
	if len(writes) > 10 || size > 10*4096 {
		t.Errorf("10 changed routes take %d writes of %d bytes together", len(writes), size)
	}
	commit(t, l, b, writes)
	if writes := changed(b); len(writes) != 0 {
		t.Errorf("without a change %d writes", len(writes))
	}
}

func TestABudgetLeavesTheRestForLater(t *testing.T) {
	b := New(Config{})
	l := &ledger{notes: map[string]store.Note{}}
	b.Apply(l.whole())
	for i := range 100 {
		say(b, "one", 1, heard(fmt.Sprint("route-", i), 7, 1))
	}
	turns := 0
	for len(b.queue.refs) > 0 {
		writes, _ := b.changed(now, 1000, nil)
		if len(writes) == 0 || len(writes) > 20 {
			t.Fatalf("%d writes at once", len(writes))
		}
		commit(t, l, b, writes)
		turns++
	}
	again := New(Config{})
	again.Apply(l.whole())
	for i := range 100 {
		wantRequests(t, again, fmt.Sprint("route-", i), 7, 1)
	}
	if turns < 5 {
		t.Errorf("written in %d turns", turns)
	}
}

func TestWritesArePackedWithinAStoresLimits(t *testing.T) {
	var writes []write
	for i := range 300 {
		name := checkpoint.Address{Bucket: i / 2, Process: checkpoint.Process{Node: fmt.Sprint(i), Epoch: 1}}.Name()
		w := write{unless: []store.NoteCondition{{Name: checkpoint.Address{Bucket: i / 2, Base: true}.Name()}, {Name: name}}}
		if i%3 == 0 {
			w.gone = []string{name}
		} else {
			w.put = []store.Note{{Name: name, Value: make([]byte, i)}}
		}
		writes = append(writes, w)
	}
	writes = append(writes, write{put: []store.Note{{Name: "big", Value: make([]byte, 2*batchBytes)}}})
	for left := writes; len(left) > 0; {
		n, put, gone, unless := pack(left, 4096)
		if n == 0 {
			t.Fatal("nothing was packed")
		}
		if err := store.CheckNotes(put, gone, unless); err != nil {
			t.Error(err)
		}
		if len(put)+len(gone) != n {
			t.Errorf("%d writes became %d changes", n, len(put)+len(gone))
		}
		left = left[n:]
	}
}

func TestWritesThatExpectDifferentThingsOfANoteAreNotPacked(t *testing.T) {
	writes := []write{
		{gone: []string{"a"}, unless: []store.NoteCondition{{Name: "x", Modified: 1}}},
		{gone: []string{"b"}, unless: []store.NoteCondition{{Name: "x", Modified: 2}}},
	}
	if n, _, _, _ := pack(writes, batchBytes); n != 1 {
		t.Errorf("%d are packed", n)
	}
}

// FuzzApply: whatever stands in the notes, reading it harms nobody, reading it
// twice changes nothing, and what is written after it reads as it is known.
func FuzzApply(f *testing.F) {
	entry := &signalboxv1.TallyEntry{
		Route: "a", CreatedRevision: 7, LastActivity: timestamppb.New(now),
		Counters: &signalboxv1.RouteCounters{Requests: 5, Statuses: []uint64{1, 2}},
	}
	all := []*signalboxv1.TallyEntry{entry}
	one := &signalboxv1.TallyFold{Node: "one", Epoch: 1, Until: timestamppb.New(now.Add(time.Hour))}
	f.Add(marshal(f, &signalboxv1.TallyChunk{Entries: all}), marshal(f, &signalboxv1.TallyBase{Entries: all}), false)
	f.Add(marshal(f, &signalboxv1.TallyChunk{Entries: all}), marshal(f, &signalboxv1.TallyBase{Folds: []*signalboxv1.TallyFold{one}}), true)
	f.Add([]byte{0xff}, []byte{0xff}, false)
	f.Add([]byte{}, []byte{}, true)
	f.Fuzz(func(t *testing.T, chunk, ofBase []byte, exists bool) {
		b := New(Config{Exists: func(checkpoint.Subject, int64) bool { return exists }})
		l := &ledger{notes: map[string]store.Note{}}
		put := []store.Note{{Name: chunkOne, Value: chunk}, {Name: base, Value: ofBase}}
		if err := l.put(write{put: put}); err != nil {
			t.Skip(err)
		}
		b.Apply(l.whole())
		before := b.Totals("a", 7)
		b.Apply(l.changes[0])
		b.Apply(l.whole())
		if after := b.Totals("a", 7); after != before {
			t.Errorf("read again, %+v became %+v", before, after)
		}
		for range 3 { // first what cannot be kept is written again, or removed
			commit(t, l, b, changed(b))
		}
		if writes := changed(b); len(writes) != 0 {
			t.Errorf("written again and again: %v", writes)
		}
		if _, _, err := checkpoint.DecodeBase(inA, l.notes[base].Value); err == nil {
			again := New(Config{})
			again.Apply(l.whole())
			if got, want := again.Totals("a", 7), b.Totals("a", 7); got != want {
				t.Errorf("written, %+v became %+v", want, got)
			}
		}
	})
}

func BenchmarkTotals(b *testing.B) {
	book := New(Config{})
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("chp/user/name-%d", i)
		for _, node := range []string{"one", "two", "three"} {
			say(book, node, 1, heard(names[i], int64(i+1), 1))
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		book.Totals(names[i%len(names)], int64(i%len(names)+1))
	}
}

func BenchmarkReportOf10Changed(b *testing.B) {
	book := New(Config{})
	report := make([]*signalboxv1.RouteReport, 100_000)
	for i := range report {
		report[i] = heard(fmt.Sprintf("chp/user/name-%d", i), 7, 1)
	}
	book.Report("one", 1, report)
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range report[:10] {
			r.Counters.Requests++
		}
		book.Report("one", 1, report[:10])
	}
}

package checkpoint

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestNamesSpreadOverTheBuckets(t *testing.T) {
	const routes = 100_000
	for _, form := range []string{"chp/user/name-%d", "%d", "chp/user/%032x"} {
		var n [Buckets]int
		for i := range routes {
			n[Subject(fmt.Sprintf(form, i)).Bucket()]++
		}
		for i, n := range n {
			if n > 3*routes/Buckets {
				t.Errorf("%s: bucket %03x has %d routes", form, i, n)
			}
		}
	}
}

// What is kept stays where it is, or nobody finds it again.
func TestNamesStayInTheirBuckets(t *testing.T) {
	if got := Subject("a").Bucket(); got != 0x0c0 {
		t.Errorf("a is in bucket %03x, want 0c0", got)
	}
	for _, route := range []string{"", "chp/user/ana", "\u00fc"} {
		h := fnv.New64a()
		_, _ = h.Write([]byte(route))
		sum := h.Sum64()
		if got, want := Subject(route).Bucket(), int((sum>>32^sum)&0xfff); got != want {
			t.Errorf("%q is in bucket %03x, want %03x", route, got, want)
		}
	}
}

func TestNamesOfNotesAreRead(t *testing.T) {
	for want, a := range map[string]Address{
		"tally/base/000": {Base: true},
		"tally/base/fff": {Bucket: Buckets - 1, Base: true},
		"tally/node/00a/1800000000000000000/node-1.example": {Bucket: 10, Process: Process{"node-1.example", 1_800_000_000_000_000_000}},
	} {
		if name := a.Name(); name != want {
			t.Errorf("%+v is called %s, want %s", a, name, want)
		}
		if got, err := ParseName(want); err != nil || got != a {
			t.Errorf("%s: got %+v, %v", want, got, err)
		}
	}
	for _, name := range []string{
		"", "tally/", "tally/base/", "tally/base/0", "tally/base/1000", "tally/base/00A", "tally/base/-01", "tally/base/000/x",
		"tally/node/000", "tally/node/000/1", "tally/node/000/1/", "tally/node/000/x/n", "tally/node/000/01/n", "tally/other/000",
	} {
		if a, err := ParseName(name); err == nil {
			t.Errorf("%s is taken for %+v", name, a)
		}
	}
}

// some draws counts.
func some(t *rapid.T, label string) Counts {
	var c Counts
	for i := range c.n {
		c.n[i] = rapid.Uint64Max(1<<60).Draw(t, label)
	}
	c.last = rapid.Int64Range(0, math.MaxInt64/2).Draw(t, label)
	return c
}

func joined(a, b Counts) Counts {
	a.Join(&b)
	return a
}

func TestJoiningIsTheSameInAnyOrderAndAnyNumberOfTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := some(t, "a"), some(t, "b"), some(t, "c")
		if joined(a, b) != joined(b, a) {
			t.Error("the order matters")
		}
		if joined(joined(a, b), c) != joined(a, joined(b, c)) {
			t.Error("the grouping matters")
		}
		ab := joined(a, b)
		if before := ab; ab.Join(&b) || ab != before {
			t.Error("the number of times matters")
		}
	})
}

func TestASumGrowsWithWhatIsInIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, more := some(t, "a"), some(t, "b"), some(t, "more")
		sum, want := a, a
		sum.Add(&b)
		raised := joined(b, more)
		sum.Grow(&b, &raised)
		if want.Add(&raised); sum != want {
			t.Errorf("got %+v, want %+v", sum, want)
		}
	})
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instance := some(t, "instance")
		all := []Entry{
			{Instance("a"), 7, CountsOfInstance(instance.InstanceCounters(), instance.Activity())},
			{"a", 8, some(t, "a")}, {"a", 7, some(t, "a")},
		}
		folds := Folds{{"one", 1}: time.Unix(5, 6).UTC(), {"one", 2}: time.Unix(7, 0).UTC()}
		value, err := EncodeBase(all, folds)
		if err != nil {
			t.Fatal(err)
		}
		got, gotFolds, err := DecodeBase(Subject("a").Bucket(), value)
		if err != nil || !slices.Equal(got, all) || !maps.Equal(gotFolds, folds) {
			t.Errorf("base: got %+v, %+v, %v, want %+v, %+v", got, gotFolds, err, all, folds)
		}
		if value, err = EncodeChunk(all); err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeChunk(Subject("a").Bucket(), value); err != nil || !slices.Equal(got, all) {
			t.Errorf("chunk: got %+v, %v, want %+v", got, err, all)
		}
	})
}

func TestMomentsThatAreNoneAreNoActivity(t *testing.T) {
	for _, ts := range []*timestamppb.Timestamp{
		nil, {}, {Seconds: -1}, {Seconds: 1, Nanos: -1}, {Seconds: 1, Nanos: 1e9}, {Seconds: math.MaxInt64}, {Seconds: math.MaxInt64 / 1_000_000_000},
	} {
		if c := CountsOf(nil, ts); c.Activity() != nil {
			t.Errorf("%v is taken for %v", ts, c.Activity())
		}
	}
}

var now = time.Unix(1_800_000_000, 0)

func TestAFoldIsForgottenWhenItsTimeHasCome(t *testing.T) {
	old := Folds{{"one", 1}: now, {"two", 1}: now.Add(1)}
	got := old.With(Folds{{"one", 2}: now.Add(1)}, now)
	if want := (Folds{{"one", 2}: now.Add(1), {"two", 1}: now.Add(1)}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(old) != 2 {
		t.Error("the folds before were changed")
	}
}

func TestOfVeryManyProcessesTheNewestAreRemembered(t *testing.T) {
	folds := Folds{{"two", 1}: now.Add(1)}
	for epoch := range int64(rememberProcesses) {
		folds[Process{"one", epoch}] = now.Add(1)
	}
	folds = folds.With(Folds{{"one", rememberProcesses}: now.Add(1)}, now)
	_, oldest := folds[Process{"one", 0}]
	_, other := folds[Process{"two", 1}]
	if len(folds) != rememberProcesses+1 || oldest || !other {
		t.Errorf("%d are remembered, the oldest %v, another node's %v", len(folds), oldest, other)
	}
}

// FuzzDecode: whatever a note holds, what could be read of it is written as it
// was read, and is for the bucket it was found in.
func FuzzDecode(f *testing.F) {
	base, err := proto.Marshal(&signalboxv1.TallyBase{
		Entries: []*signalboxv1.TallyEntry{{
			Route: "a", CreatedRevision: 7, LastActivity: timestamppb.New(now),
			Counters: &signalboxv1.RouteCounters{Requests: 5, Statuses: []uint64{1, 2}},
		}},
		Folds: []*signalboxv1.TallyFold{{Node: "one", Epoch: 1, Until: timestamppb.New(now)}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base)
	f.Add([]byte{0xff})
	bucket := Subject("a").Bucket()
	f.Fuzz(func(t *testing.T, value []byte) {
		chunk, _ := DecodeChunk(bucket, value)
		for _, e := range chunk {
			if e.Subject.Bucket() != bucket || e.Created <= 0 {
				t.Errorf("read %+v", e)
			}
		}
		entries, folds, err := DecodeBase(bucket, value)
		if err != nil {
			return
		}
		written, err := EncodeBase(entries, folds)
		if err != nil {
			t.Fatal(err)
		}
		again, foldsAgain, err := DecodeBase(bucket, written)
		if err != nil || !slices.Equal(again, entries) || !maps.Equal(foldsAgain, folds) {
			t.Errorf("%+v, %+v became %+v, %+v, %v", entries, folds, again, foldsAgain, err)
		}
	})
}

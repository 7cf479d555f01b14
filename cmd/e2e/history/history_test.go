package history_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/cmd/e2e/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// op is an operation on the route "r", from one moment to another.
func op(began, ended int, call history.Call, a history.Answer) history.Operation {
	call.Route = "r"
	return history.Operation{Call: call, Answer: a, Client: began % 3, Began: time.Duration(began), Ended: time.Duration(ended)}
}

func get() history.Call                    { return history.Call{Kind: history.Get, Expected: history.Any} }
func put(value string) history.Call        { return putAt(value, history.Any) }
func del() history.Call                    { return history.Call{Kind: history.Delete, Expected: history.Any} }
func done(rev int64) history.Answer        { return history.Answer{Outcome: history.Done, Revision: rev} }
func end(o history.Outcome) history.Answer { return history.Answer{Outcome: o} }

func putAt(value string, expected int64) history.Call {
	return history.Call{Kind: history.Put, Value: value, Expected: expected}
}

func delAt(expected int64) history.Call {
	return history.Call{Kind: history.Delete, Expected: expected}
}

func found(value string, rev int64) history.Answer {
	return history.Answer{Outcome: history.Done, Found: value, Revision: rev}
}

// since adds the revision of a route's creation to an answer.
func since(a history.Answer, created int64) history.Answer {
	a.Created = created
	return a
}

func TestWhatCannotHaveHappenedIsFound(t *testing.T) {
	for name, ops := range map[string][]history.Operation{
		"a lost write": {
			op(1, 2, put("a"), done(10)), op(3, 4, get(), end(history.Absent)),
		},
		"a write lost under another": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), done(11)), op(5, 6, get(), found("a", 10)),
		},
		"a stale read": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), done(11)),
			op(5, 6, get(), found("b", 11)), op(7, 8, get(), found("a", 10)),
		},
		"a stale read beside the write that others have seen": {
			op(1, 2, put("a"), done(10)), op(3, 20, put("b"), done(11)),
			op(5, 6, get(), found("b", 11)), op(7, 8, get(), found("a", 10)),
		},
		"a write done twice": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), done(11)), op(5, 6, get(), found("a", 12)),
		},
		"a write of unknown outcome done twice": {
			op(1, 2, put("a"), end(history.Unknown)), op(3, 4, get(), found("a", 10)),
			op(5, 6, put("b"), done(11)), op(7, 8, get(), found("a", 12)),
		},
		"a refused write that was done": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), end(history.Refused)), op(5, 6, get(), found("b", 11)),
		},
		"a removal that comes back": {
			op(1, 2, put("a"), done(10)), op(3, 4, del(), done(11)),
			op(5, 6, get(), end(history.Absent)), op(7, 8, get(), found("a", 10)),
		},
		"a removal that was not done": {
			op(1, 2, put("a"), done(10)), op(3, 4, del(), done(11)), op(5, 6, get(), found("a", 10)),
		},
		"two writers at one revision": {
			op(1, 2, put("a"), done(10)), op(3, 6, putAt("b", 10), done(11)), op(3, 6, putAt("c", 10), done(12)),
		},
		"two creators": {
			op(1, 4, putAt("a", 0), done(10)), op(1, 4, putAt("b", 0), done(11)),
		},
		"a revision that goes back": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), done(9)),
		},
		"a removal's revision that goes back": {
			op(1, 2, put("a"), done(10)), op(3, 4, del(), done(12)), op(5, 6, put("b"), done(11)),
		},
		"a read of a write at another revision": {
			op(1, 2, put("a"), done(10)), op(3, 4, get(), found("a", 11)),
		},
		"a condition that held and was refused": {
			op(1, 2, put("a"), done(10)), op(3, 4, putAt("b", 10), end(history.Moved)),
		},
		"a removal whose condition held and was refused": {
			op(1, 2, put("a"), done(10)), op(3, 4, delAt(10), end(history.Moved)),
		},
		"one found where there is none": {
			op(1, 2, put("a"), done(10)), op(3, 4, del(), done(11)), op(5, 6, putAt("b", 0), end(history.Exists)),
		},
		"a route that was there all the time and began anew": {
			op(1, 2, put("a"), since(done(10), 10)), op(3, 4, put("b"), since(done(11), 11)),
		},
		"a route that was gone and did not begin anew": {
			op(1, 2, put("a"), since(done(10), 10)), op(3, 4, del(), done(11)), op(5, 6, put("b"), since(done(12), 10)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var bad *history.Illegal
			if err := history.Check(ops, dir, time.Minute); !errors.As(err, &bad) {
				t.Fatalf("got %v", err)
			}
			if bad.Route != "r" || !strings.Contains(bad.Story, "-> ") || !strings.HasPrefix(bad.Picture, dir) {
				t.Errorf("it says %v", bad)
			}
			if page, err := os.ReadFile(bad.Picture); err != nil || !strings.Contains(string(page), "puts a") {
				t.Errorf("the picture: %d bytes, %v", len(page), err)
			}
		})
	}
}

func TestWhatCanHaveHappenedPasses(t *testing.T) {
	for name, ops := range map[string][]history.Operation{
		"nothing": nil,
		"writes beside each other, in any order": {
			op(1, 10, put("a"), done(11)), op(2, 9, put("b"), done(10)), op(11, 12, get(), found("a", 11)),
		},
		"a read of a write that is not answered yet": {
			op(1, 10, put("a"), done(10)), op(2, 3, get(), found("a", 10)),
		},
		"a write of unknown outcome that was never done": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), end(history.Unknown)), op(5, 6, get(), found("a", 10)),
		},
		"one that was done at once": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), end(history.Unknown)), op(5, 6, get(), found("b", 11)),
		},
		"one that was done much later": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), end(history.Unknown)),
			op(5, 6, get(), found("a", 10)), op(7, 8, get(), found("b", 11)),
		},
		"one that only its successor tells of": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), end(history.Unknown)),
			op(5, 6, putAt("c", 11), done(12)), op(7, 8, get(), found("c", 12)),
		},
		"one that only a refusal tells of": {
			op(1, 2, put("a"), done(10)), op(3, 4, del(), end(history.Unknown)),
			op(5, 6, putAt("c", 10), end(history.Moved)), op(7, 8, putAt("d", 0), done(12)),
		},
		"a conditional one whose condition did not hold": {
			op(1, 2, put("a"), done(10)), op(3, 4, put("b"), done(11)),
			op(5, 6, putAt("c", 10), end(history.Unknown)), op(7, 8, get(), found("b", 11)),
		},
		"reads of unknown outcome and refusals say nothing": {
			op(1, 2, put("a"), done(10)), op(3, 4, get(), end(history.Unknown)), op(3, 4, put("b"), end(history.Refused)),
			op(5, 6, get(), found("a", 10)),
		},
		"a route that comes, goes and comes": {
			op(1, 2, putAt("a", 0), since(done(10), 10)), op(3, 4, put("b"), since(done(11), 10)),
			op(5, 6, delAt(11), done(12)), op(7, 8, del(), end(history.Absent)),
			op(9, 10, putAt("c", 11), end(history.Moved)), op(11, 12, put("d"), since(done(15), 15)), op(13, 14, get(), since(found("d", 15), 15)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := history.Check(ops, t.TempDir(), time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestACheckThatTakesTooLongIsNoPass(t *testing.T) {
	// Writes beside each other whose answers do not tell their order, and a
	// read of none of them.
	var ops []history.Operation
	for i := range 40 {
		ops = append(ops, op(1, 2, put(string(rune('a'+i))), end(history.Unknown)))
	}
	for range 2 {
		ops = append(ops, op(3, 4, get(), found("a", 100)), op(5, 6, get(), found("b", 200)))
	}
	err := history.Check(ops, t.TempDir(), 100*time.Millisecond)
	var late *history.Undecided
	if !errors.As(err, &late) || late.Route != "r" || late.Unknown != 40 {
		t.Fatalf("got %v", err)
	}
}

func TestARecorderKeepsWhatItIsTold(t *testing.T) {
	now := time.Unix(0, 0)
	h := history.New(func() time.Time { now = now.Add(time.Second); return now })
	a, b := h.Client(), h.Client()
	first := a.Begin(history.Call{Kind: history.Put, Route: "r", Value: a.Value(), Expected: history.Any})
	second := b.Begin(history.Call{Kind: history.Get, Route: "r"})
	second.End(history.Answer{Outcome: history.Absent})
	if err := h.Check(t.TempDir()); err == nil {
		t.Error("a history with a call under way was checked")
	}
	first.End(history.Answer{Outcome: history.Done, Revision: 7})
	if err := h.Check(t.TempDir()); err != nil {
		t.Error(err)
	}
	ops := h.Operations()
	answered, failed := h.Count()
	if len(ops) != 2 || answered != 2 || failed != 0 || ops[0].Client != 1 || ops[1].Began != time.Second || ops[1].Ended != 4*time.Second {
		t.Errorf("kept %v", ops)
	}
	if a.Value() == b.Value() {
		t.Error("two clients write the same value")
	}
}

func TestOutcomesOfErrors(t *testing.T) {
	certain := func(c codes.Code, reason string) error {
		st, err := status.New(c, "no").WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "signalbox"})
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	for _, c := range []struct {
		call history.Call
		err  error
		want history.Outcome
	}{
		{put("a"), nil, history.Done},
		{put("a"), status.Error(codes.Unavailable, "connection lost"), history.Unknown},
		{put("a"), status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`), history.Refused},
		{put("a"), certain(codes.Unavailable, "MAYBE_WRITTEN"), history.Unknown},
		{put("a"), certain(codes.Unavailable, "NOTHING_WRITTEN"), history.Refused},
		{put("a"), certain(codes.ResourceExhausted, "NOTHING_WRITTEN"), history.Refused},
		{put("a"), status.Error(codes.ResourceExhausted, "message larger than max"), history.Unknown},
		{put("a"), status.Error(codes.DeadlineExceeded, ""), history.Unknown},
		{put("a"), status.Error(codes.Canceled, ""), history.Unknown},
		{put("a"), status.Error(codes.Internal, ""), history.Unknown},
		{put("a"), errors.New("something"), history.Unknown},
		{put("a"), status.Error(codes.Aborted, "others write"), history.Refused},
		{putAt("a", 0), status.Error(codes.AlreadyExists, ""), history.Exists},
		{putAt("a", 7), status.Error(codes.AlreadyExists, "the match is taken"), history.Refused},
		{putAt("a", 7), status.Error(codes.Aborted, ""), history.Moved},
		{delAt(7), status.Error(codes.Aborted, ""), history.Moved},
		{del(), status.Error(codes.NotFound, ""), history.Absent},
		{get(), status.Error(codes.NotFound, ""), history.Absent},
		{put("a"), status.Error(codes.PermissionDenied, ""), history.Refused},
	} {
		if got := history.Of(c.call, c.err); got != c.want {
			t.Errorf("%v, answered %v: got %d, want %d", c.call, c.err, got, c.want)
		}
	}
}

package logs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"signalbox/controlplane/logs"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func line(instance, text string) *signalboxv1.LogLine {
	return &signalboxv1.LogLine{Instance: instance, Text: text}
}

func lines(instance string, from, to int) (all []*signalboxv1.LogLine) {
	for i := from; i < to; i++ {
		all = append(all, line(instance, fmt.Sprint(i)))
	}
	return all
}

// told reads n lines as "node instance text", or "+MISSED" before them.
func told(t *testing.T, f *logs.Follower, n int) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range n {
		l, missed, err := f.Next(ctx)
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		if missed > 0 {
			all = append(all, fmt.Sprintf("+%d", missed))
		}
		all = append(all, l.GetNode()+" "+l.GetInstance()+" "+l.GetText())
	}
	return all
}

func is(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("told %q, want %q", got, want)
	}
}

// nothing checks that there is nothing more to tell.
func nothing(t *testing.T, f *logs.Follower) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l, _, err := f.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("there is one of %d bytes, %v", len(l.GetText()), err)
	}
}

// A new stream of a node begins with what the node remembers.
func TestALineThatIsHeardTwiceIsKeptOnce(t *testing.T) {
	placed := func(from, to int) []*signalboxv1.LogLine {
		all := lines("a", from, to)
		for i, l := range all {
			l.Place = int64(from + i + 1)
		}
		return all
	}
	h := logs.New()
	f := h.Follow("a", 0)
	defer f.Close()
	h.Add("n", 1, placed(0, 2))
	h.Add("n", 1, placed(0, 3)) // again, on another stream
	h.Add("m", 1, placed(7, 8))
	h.Add("n", 2, placed(0, 1)) // the node was started anew
	is(t, told(t, f, 5), "n a 0", "n a 1", "n a 2", "m a 7", "n a 0")
	nothing(t, f)
	late := h.Follow("a", 2)
	defer late.Close()
	if l, _, err := late.Next(t.Context()); err != nil || l.GetPlace() != 8 {
		t.Errorf("those who follow are told %v, %v", l, err)
	}
}

func TestFollow(t *testing.T) {
	t.Run("a tail comes first, then what is said", func(t *testing.T) {
		h := logs.New()
		h.Add("n", 1, lines("a", 0, 5))
		h.Add("n", 1, []*signalboxv1.LogLine{line("b", "x")})
		f := h.Follow("a", 2)
		defer f.Close()
		h.Add("m", 1, lines("a", 5, 6))
		is(t, told(t, f, 3), "n a 3", "n a 4", "m a 5")
		nothing(t, f)
	})
	t.Run("without a name it is all, in the order in which it was heard", func(t *testing.T) {
		h := logs.New()
		for i := range 3 {
			h.Add("n", 1, lines("b", i, i+1))
			h.Add("m", 1, lines("a", i, i+1))
		}
		f := h.Follow("", 2)
		defer f.Close()
		h.Add("n", 1, lines("new", 0, 1))
		is(t, told(t, f, 5), "n b 1", "m a 1", "n b 2", "m a 2", "n new 0")
	})
	t.Run("no tail is none", func(t *testing.T) {
		h := logs.New()
		h.Add("n", 1, lines("a", 0, 5))
		f := h.Follow("a", 0)
		defer f.Close()
		nothing(t, f)
	})
	t.Run("one who waits is woken", func(t *testing.T) {
		h := logs.New()
		f := h.Follow("a", 0)
		defer f.Close()
		go h.Add("n", 1, lines("a", 0, 1))
		is(t, told(t, f, 1), "n a 0")
	})
	t.Run("a slow one misses the oldest, and is told how many", func(t *testing.T) {
		h := logs.New()
		f := h.Follow("a", 0)
		defer f.Close()
		h.Add("n", 1, lines("a", 0, 1007))
		is(t, told(t, f, 2), "+7", "n a 7", "n a 8")
		h.Add("n", 1, lines("a", 1007, 1010))
		is(t, told(t, f, 1), "+1", "n a 10")
	})
	t.Run("it ends with the instance, once all was told", func(t *testing.T) {
		h := logs.New()
		one, all := h.Follow("a", 0), h.Follow("", 0)
		defer one.Close()
		defer all.Close()
		h.Add("n", 1, lines("a", 0, 1))
		h.Forget("a")
		is(t, told(t, one, 1), "n a 0")
		if _, _, err := one.Next(t.Context()); !errors.Is(err, logs.ErrGone) {
			t.Errorf("then comes %v", err)
		}
		is(t, told(t, all, 1), "n a 0")
		nothing(t, all)
		late := h.Follow("a", logs.MaxLines)
		defer late.Close()
		nothing(t, late)
	})
	t.Run("one who left is handed nothing", func(t *testing.T) {
		h := logs.New()
		f := h.Follow("", 0)
		f.Close()
		h.Add("n", 1, lines("a", 0, 1))
		nothing(t, f)
	})
}

func TestWhatIsKept(t *testing.T) {
	t.Run("the last lines", func(t *testing.T) {
		h := logs.New()
		h.Add("n", 1, lines("a", 0, logs.MaxLines+3))
		f := h.Follow("a", 2*logs.MaxLines)
		defer f.Close()
		is(t, told(t, f, logs.MaxLines)[:1], "n a 3")
		nothing(t, f)
	})
	t.Run("so many bytes of them, and of one line", func(t *testing.T) {
		h := logs.New()
		long := strings.Repeat("ü", logs.MaxText)
		for range 40 {
			h.Add("n", 1, []*signalboxv1.LogLine{line("a", "x"+long)})
		}
		f := h.Follow("a", logs.MaxLines)
		defer f.Close()
		l, _, err := f.Next(t.Context())
		if err != nil || len(l.GetText()) > logs.MaxText || len(l.GetText()) < logs.MaxText-3 || !utf8.ValidString(l.GetText()) {
			t.Errorf("a line has %d bytes, %v", len(l.GetText()), err)
		}
		told(t, f, logs.MaxBytes/logs.MaxText-1) // the node's name fills up what was cut
		nothing(t, f)
	})
	t.Run("so many bytes in all", func(t *testing.T) {
		h := logs.New()
		long := strings.Repeat("x", logs.MaxText-1)
		full := logs.MaxBytes / logs.MaxText
		for i := range logs.MaxTotal/(full*(logs.MaxText+logs.Overhead)) + 1 {
			for range full {
				h.Add("n", 1, []*signalboxv1.LogLine{line(fmt.Sprint("i", i), long)})
			}
		}
		for name, want := range map[string]int{"i0": 0, "i1": full, "i2": full} {
			f := h.Follow(name, logs.MaxLines)
			told(t, f, want)
			nothing(t, f)
			f.Close()
		}
	})
	t.Run("so many bytes in all, also of lines without a text", func(t *testing.T) {
		h := logs.New()
		empty := make([]*signalboxv1.LogLine, logs.MaxLines)
		for i := range logs.MaxTotal/(logs.MaxLines*(len("n")+logs.Overhead)) + 1 {
			for n := range empty {
				empty[n] = line(fmt.Sprint("i", i), "")
			}
			h.Add("n", 1, empty)
		}
		for name, want := range map[string]int{"i0": 0, "i1": logs.MaxLines} {
			f := h.Follow(name, logs.MaxLines)
			told(t, f, want)
			nothing(t, f)
			f.Close()
		}
	})
	t.Run("of so many instances, without the quietest", func(t *testing.T) {
		h := logs.New()
		for i := range logs.MaxInstances {
			h.Add("n", 1, lines(fmt.Sprint("i", i), 0, 1))
		}
		h.Add("n", 1, lines("i0", 1, 2))
		h.Add("n", 1, lines("new", 0, 1))
		for name, want := range map[string]int{"i0": 2, "i1": 0, "i2": 1, "new": 1} {
			f := h.Follow(name, 5)
			told(t, f, want)
			nothing(t, f)
			f.Close()
		}
	})
}

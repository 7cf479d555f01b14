package tunnel

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// noted returns a journal and what it has logged.
func noted(level string) (*journal, func() []string) {
	var texts []string
	return newJournal(Config{Lines: func(l *signalboxv1.LogLine) { texts = append(texts, l.GetText()) }}, "one", level),
		func() []string { return texts }
}

func TestWhatIsTriedAgainIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines := noted("info")
		for range 50 {
			j.repeat(slog.LevelError, "failure", "cannot listen")
			time.Sleep(3 * time.Second) //nolint:forbidigo // simulated
		}
		j.repeat(slog.LevelError, "failure", "something else")
		want := "cannot listen|cannot listen (and 19 times since)|cannot listen (and 19 times since)|something else"
		if got := strings.Join(lines(), "|"); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		j.over("failure")
		j.repeat(slog.LevelError, "failure", "something else")
		if len(lines()) != 5 {
			t.Error("after it was over it is no news")
		}
	})
}

func TestUsersCannotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines := noted("info")
		for range 1000 {
			j.user(slog.LevelWarn, "refused")
		}
		if n := len(lines()); n != burst {
			t.Errorf("%d lines", n)
		}
		time.Sleep(often) //nolint:forbidigo // simulated
		j.user(slog.LevelWarn, "refused")
		if got := lines(); got[len(got)-1] != "refused (and 980 more like it)" {
			t.Errorf("the last is %q", got[len(got)-1])
		}
	})
}

func TestStrangersDoNotHideWhatGoesWrongForUsers(t *testing.T) {
	j, lines := noted("info")
	for range 10 * burst {
		j.wire(slog.LevelWarn, "who is that")
	}
	j.user(slog.LevelWarn, "target unreachable")
	if got := lines(); len(got) != burst+1 || got[burst] != "target unreachable" {
		t.Errorf("%d lines: %q", len(got), got)
	}
}

func TestLinesAreOfTheLevelThatIsAskedFor(t *testing.T) {
	for level, want := range map[string]string{
		"debug": "DEBUG INFO WARN ERROR", "info": "INFO WARN ERROR", "warn": "WARN ERROR", "error": "ERROR", "none": "",
	} {
		j, lines := noted(level)
		for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			j.say(l, l.String())
		}
		if got := strings.Join(lines(), " "); got != want {
			t.Errorf("%s: %s", level, got)
		}
	}
}

func TestALineIsOneLine(t *testing.T) {
	if got := clean("a\nb\x1b[31m\xff"); got != "a b?[31m?" {
		t.Errorf("%q", got)
	}
	if got := clean(strings.Repeat("ä", 3000)); len(got) > maxText {
		t.Errorf("%d bytes", len(got))
	}
}

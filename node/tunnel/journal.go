package tunnel

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	// maxText bounds a line, in bytes.
	maxText = 4096
	// again is how long the same line is not repeated.
	again = time.Minute
	// often and burst bound lines that anybody can cause.
	often = 5 * time.Second
	burst = 20
)

// A journal is what one run logs, from the level on that its URL names. It is
// safe for concurrent use.
type journal struct {
	instance, node string
	least          slog.Level // above every other for none at all
	sink           func(*signalboxv1.LogLine)

	mu     sync.Mutex // guards what follows
	topics map[string]*topic
	// users are those who are served; strangers knock at the tunnel's port, and
	// must not keep lines about users out.
	users, strangers crowd
}

// A crowd is who can cause lines at will.
type crowd struct {
	bound  *rate.Limiter
	hushed int // lines that were left out since the last
}

func newCrowd() crowd { return crowd{bound: rate.NewLimiter(rate.Every(often), burst)} }

// A topic is what may be said again and again.
type topic struct {
	text   string
	said   time.Time
	hushed int // repetitions that were left out
}

// newJournal returns the journal of an instance.
func newJournal(cfg Config, instance, level string) *journal {
	least, ok := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[level]
	if !ok {
		least = slog.LevelError + 1
	}
	if level == "" {
		least = slog.LevelInfo
	}
	return &journal{
		instance: instance, node: cfg.Node, least: least, sink: cfg.Lines,
		topics: map[string]*topic{}, users: newCrowd(), strangers: newCrowd(),
	}
}

// enabled says whether lines of a level are logged.
func (j *journal) enabled(l slog.Level) bool { return l >= j.least }

// say logs a line.
func (j *journal) say(l slog.Level, text string) {
	if !j.enabled(l) {
		return
	}
	j.sink(&signalboxv1.LogLine{
		Instance: j.instance, Node: j.node, Time: timestamppb.Now(), Level: levelOf(l), Text: clean(text),
	})
}

// repeat logs what is tried again and again, such as a retry: what is the same
// as the last time under its topic is logged once a minute, with how often it
// was left out.
func (j *journal) repeat(l slog.Level, about, text string) {
	j.mu.Lock()
	t := j.topics[about]
	if t == nil {
		t = &topic{}
		j.topics[about] = t
	}
	if t.text == text && time.Since(t.said) < again {
		t.hushed++
		j.mu.Unlock()
		return
	}
	more := ""
	if t.text == text && t.hushed > 0 {
		more = fmt.Sprintf(" (and %d times since)", t.hushed)
	}
	*t = topic{text: text, said: time.Now()}
	j.mu.Unlock()
	j.say(l, text+more)
}

// over ends a topic, so that it is news the next time.
func (j *journal) over(about string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.topics, about)
}

// user logs a line that every user can cause, not more often than is good.
func (j *journal) user(l slog.Level, text string) { j.bounded(&j.users, l, text) }

// wire logs what a wire says. Warnings are about strangers and what they send,
// and worse is about clients that come and go, so both are bounded.
func (j *journal) wire(l slog.Level, text string) {
	switch {
	case l >= slog.LevelError:
		j.bounded(&j.users, l, text)
	case l >= slog.LevelWarn:
		j.bounded(&j.strangers, l, text)
	default:
		j.say(l, text)
	}
}

// bounded logs a line that some can cause at will, not more often than is good.
func (j *journal) bounded(c *crowd, l slog.Level, text string) {
	if !j.enabled(l) {
		return
	}
	if l > slog.LevelDebug {
		j.mu.Lock()
		if !c.bound.Allow() {
			c.hushed++
			j.mu.Unlock()
			return
		}
		if c.hushed > 0 {
			text += fmt.Sprintf(" (and %d more like it)", c.hushed)
		}
		c.hushed = 0
		j.mu.Unlock()
	}
	j.say(l, text)
}

// detail logs what only developers read.
func (j *journal) detail(format string, args ...any) {
	if j.enabled(slog.LevelDebug) {
		j.say(slog.LevelDebug, fmt.Sprintf(format, args...))
	}
}

// levelOf is the vocabulary's level.
func levelOf(l slog.Level) signalboxv1.LogLevel {
	switch {
	case l < slog.LevelInfo:
		return signalboxv1.LogLevel_LOG_LEVEL_DEBUG
	case l < slog.LevelWarn:
		return signalboxv1.LogLevel_LOG_LEVEL_INFO
	case l < slog.LevelError:
		return signalboxv1.LogLevel_LOG_LEVEL_WARN
	}
	return signalboxv1.LogLevel_LOG_LEVEL_ERROR
}

// clean makes one line of what may hold a peer's bytes.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	return text
}

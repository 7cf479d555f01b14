package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// nodepassLog writes lines as nodepass does, with its colours everywhere, as
// those expect who show them:
//
//	2026-11-20 15:36:01.257  INFO  Master started: 127.0.0.1:9090/api/v1
type nodepassLog struct {
	least slog.Level

	mu  sync.Mutex
	out io.Writer
}

// newNodePassLog returns a log of a level. As in nodepass an unknown one is
// "info".
func newNodePassLog(out io.Writer, level string) *nodepassLog {
	l := &nodepassLog{out: out}
	if strings.EqualFold(level, "none") {
		l.least = silence
	}
	for _, known := range []slog.Level{slog.LevelDebug, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(level, known.String()) {
			l.least = known
		}
	}
	return l
}

// level is the log's, for a line of it.
func (l *nodepassLog) level() string {
	if l.least == silence {
		return "NONE"
	}
	return l.least.String()
}

// say logs what matters enough.
func (l *nodepassLog) say(level slog.Level, format string, a ...any) {
	if level >= l.least {
		l.write(time.Now(), level, fmt.Sprintf(format, a...))
	}
}

// write logs a line, whatever it matters.
func (l *nodepassLog) write(at time.Time, level slog.Level, text string) {
	line := fmt.Sprintf("%s  \x1b[%dm%s\x1b[0m  %s\n", at.Local().Format("2006-01-02 15:04:05.000"), colours[level], level, text)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.out, line) // whoever reads it may have gone
}

// told logs what an instance logged: it has chosen what matters itself.
func (l *nodepassLog) told(line *signalboxv1.LogLine, suffix string) {
	l.write(line.GetTime().AsTime(), cmp.Or(lineLevels[line.GetLevel()], slog.LevelInfo), line.GetText()+suffix)
}

// lineLevels are the levels of instances' lines; Info is 0.
var lineLevels = map[signalboxv1.LogLevel]slog.Level{
	signalboxv1.LogLevel_LOG_LEVEL_DEBUG: slog.LevelDebug,
	signalboxv1.LogLevel_LOG_LEVEL_WARN:  slog.LevelWarn,
	signalboxv1.LogLevel_LOG_LEVEL_ERROR: slog.LevelError,
}

// parts returns the logger of the parts that this process is made of. Their
// news are details here, and their details are nobody's.
func (l *nodepassLog) parts() *slog.Logger { return slog.New(&nodepassParts{log: l}) }

// nodepassParts implements slog.Handler.
type nodepassParts struct {
	log   *nodepassLog
	attrs []slog.Attr
}

// partLevel is what a level of a part is here.
func partLevel(l slog.Level) slog.Level {
	switch {
	case l < slog.LevelWarn:
		return slog.LevelDebug
	case l < slog.LevelError:
		return slog.LevelWarn
	}
	return slog.LevelError
}

func (p *nodepassParts) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo && partLevel(l) >= p.log.least
}

func (p *nodepassParts) Handle(_ context.Context, r slog.Record) error {
	text := strings.Builder{}
	text.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		_, _ = fmt.Fprintf(&text, " %s=%q", a.Key, a.Value.String())
		return true
	}
	for _, a := range p.attrs {
		add(a)
	}
	r.Attrs(add)
	p.log.write(r.Time, partLevel(r.Level), text.String())
	return nil
}

func (p *nodepassParts) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &nodepassParts{log: p.log, attrs: append(p.attrs[:len(p.attrs):len(p.attrs)], attrs...)}
}

func (p *nodepassParts) WithGroup(string) slog.Handler { return p }

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// chpLog writes lines as configurable-http-proxy does, for those who read its
// log:
//
//	2026-11-20T15:35:53.270Z [ConfigProxy] info: Route added /x -> http://127.0.0.1:9000
//
// Levels are in colour on a terminal; there they are in CHP's logs anywhere.
type chpLog struct {
	least  slog.Level
	colour bool

	mu  sync.Mutex
	out io.Writer
}

// silence is above all levels.
const silence = slog.LevelError + 100

// newCHPLog returns a log of a level; as in CHP an unknown one is silence.
func newCHPLog(out io.Writer, level string) *chpLog {
	l := &chpLog{out: out, least: silence}
	for _, known := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(level, known.String()) {
			l.least = known
		}
	}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		l.colour = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return l
}

// colours of levels on a terminal.
var colours = map[slog.Level]int{slog.LevelDebug: 34, slog.LevelInfo: 32, slog.LevelWarn: 33, slog.LevelError: 31}

// log writes a line.
func (l *chpLog) log(level slog.Level, text string) {
	if level < l.least {
		return
	}
	name := strings.ToLower(level.String())
	if l.colour {
		name = fmt.Sprintf("\x1b[%dm%s\x1b[39m", colours[level], name)
	}
	line := fmt.Sprintf("%s [ConfigProxy] %s: %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), name, text)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.out, line) // whoever reads it may have gone
}

func (l *chpLog) info(format string, a ...any) { l.log(slog.LevelInfo, fmt.Sprintf(format, a...)) }
func (l *chpLog) warn(format string, a ...any) { l.log(slog.LevelWarn, fmt.Sprintf(format, a...)) }

// parts returns the logger of the parts that this process is made of. Their
// news are details here, and their details are nobody's.
func (l *chpLog) parts() *slog.Logger { return slog.New(&chpParts{log: l}) }

// chpParts implements slog.Handler.
type chpParts struct {
	log   *chpLog
	attrs []slog.Attr
}

func (p *chpParts) level(l slog.Level) slog.Level {
	if l < slog.LevelWarn {
		return l - 4 // the next below
	}
	return l
}

func (p *chpParts) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo && p.level(l) >= p.log.least
}

func (p *chpParts) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the secret given for a key is short") {
		p.log.log(p.level(r.Level), "CONFIGPROXY_AUTH_TOKEN is short, and can be guessed")
		return nil
	}
	text := strings.Builder{}
	text.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		value := a.Value.String()
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == 0x7f }) {
			value = fmt.Sprintf("%q", value)
		}
		text.WriteString(" " + a.Key + "=" + value)
		return true
	}
	for _, a := range p.attrs {
		add(a)
	}
	r.Attrs(add)
	p.log.log(p.level(r.Level), text.String())
	return nil
}

func (p *chpParts) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &chpParts{log: p.log, attrs: append(p.attrs[:len(p.attrs):len(p.attrs)], attrs...)}
}

func (p *chpParts) WithGroup(string) slog.Handler { return p }

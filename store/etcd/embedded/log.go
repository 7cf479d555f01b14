package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger returns what etcd logs to. etcd is talkative, and reports as errors
// what every shutdown brings: all that is for debugging, except for its last
// words, which broken is told of.
func newLogger(to *slog.Logger, broken func(error)) *zap.Logger {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	last := lastWords(broken)
	return zap.New(bridge{to: to}, zap.WithFatalHook(last), zap.WithPanicHook(last))
}

// lastWords is told of what etcd would end the process with, or panic. It ends
// the goroutine instead, and so the member, whose process has others to think of.
type lastWords func(error)

// OnWrite implements zapcore.CheckWriteHook.
func (broken lastWords) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := errors.New(e.Message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok {
			err = fmt.Errorf("%s: %w", e.Message, cause)
		}
	}
	broken(err)
	runtime.Goexit()
}

// bridge hands what is logged through zap to slog.
type bridge struct {
	to     *slog.Logger
	fields []zapcore.Field
}

// levelOf is the level at which we log what etcd logs at l.
func levelOf(l zapcore.Level) slog.Level {
	if l > zapcore.ErrorLevel {
		return slog.LevelError
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.LevelEnabler.
func (b bridge) Enabled(l zapcore.Level) bool {
	return b.to.Enabled(context.Background(), levelOf(l))
}

// With implements zapcore.Core.
func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{b.to, slices.Concat(b.fields, fields)}
}

// Check implements zapcore.Core.
func (b bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return ce.AddCore(e, b)
	}
	return ce
}

// Write implements zapcore.Core.
func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(b.fields, fields) {
		f.AddTo(enc)
	}
	attrs := []slog.Attr{slog.String("said", e.Message), slog.String("as", e.Level.String())}
	for _, name := range slices.Sorted(maps.Keys(enc.Fields)) {
		attrs = append(attrs, slog.Any(name, enc.Fields[name]))
	}
	b.to.LogAttrs(context.Background(), levelOf(e.Level), "etcd", slog.Attr{Key: "etcd", Value: slog.GroupValue(attrs...)})
	return nil
}

// Sync implements zapcore.Core.
func (b bridge) Sync() error { return nil }

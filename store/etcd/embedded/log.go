package embedded

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger returns what etcd logs to. etcd is talkative, and reports as errors
// what every shutdown brings: all that is for debugging, except for the last
// words before it ends the process.
func newLogger(to *slog.Logger) *zap.Logger {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	return zap.New(bridge{to: to})
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

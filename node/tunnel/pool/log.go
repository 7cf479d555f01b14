package pool

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// atMost is how often strangers and lost users make lines of the log.
const atMost = time.Second

// A Log writes lines that others can cause, so it leaves some out: one in
// atMost is written. It is safe for concurrent use.
type Log struct {
	Lines func(slog.Level, string) // may be nil

	mu   sync.Mutex
	last time.Time
	left int // out since last
}

// Warn writes a line, or counts it.
func (l *Log) Warn(text string) {
	if l.Lines == nil {
		return
	}
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.last) < atMost {
		l.left++
		l.mu.Unlock()
		return
	}
	left := l.left
	l.last, l.left = now, 0
	l.mu.Unlock()
	if left > 0 {
		text = fmt.Sprintf("%s (%d lines before this one were left out)", text, left)
	}
	l.Lines(slog.LevelWarn, text)
}

package carry

import (
	"sync/atomic"
	"time"
)

// A watcher ends what has been idle for too long. Nil never does.
type watcher struct {
	limit time.Duration
	moved atomic.Int64 // nanoseconds since begun
	begun time.Time
	timer *time.Timer
}

// watch calls end, once, when nothing has moved for limit.
func watch(limit time.Duration, end func()) *watcher {
	if limit <= 0 {
		return nil
	}
	w := &watcher{limit: limit, begun: time.Now()}
	armed := make(chan struct{})
	w.timer = time.AfterFunc(limit, func() {
		<-armed
		left := time.Duration(w.moved.Load()) + limit - time.Since(w.begun)
		if left <= 0 {
			end()
			return
		}
		w.timer.Reset(left)
	})
	close(armed)
	return w
}

// touch says that something moved.
func (w *watcher) touch() {
	if w != nil {
		w.moved.Store(int64(time.Since(w.begun)))
	}
}

// stop ends watching.
func (w *watcher) stop() {
	if w != nil {
		w.timer.Stop()
	}
}

// counting returns a count that also touches.
func (w *watcher) counting(count Count) Count {
	if w == nil {
		return count
	}
	return func(n int) {
		w.touch()
		count(n)
	}
}

package node

import (
	"context"
	"log/slog"
	"time"
)

// keepEvery is how often the last-known-good file is written at most, while
// writing it takes no time to speak of.
const keepEvery = time.Second

// keepShare is how many times longer than the last writing took the next one
// waits, so that a large table that changes all the time costs little.
const keepShare = 20

// keepRetry is how long to wait after the file could not be written.
const keepRetry = 10 * time.Second

// A keeper writes a table's state to the last-known-good file, a while after
// it changed and at the end. Nobody waits for it.
type keeper struct {
	dir   string
	state func() *state
	log   *slog.Logger
	wake  chan struct{} // has an element when the state has changed
}

func newKeeper(dir string, state func() *state, log *slog.Logger) *keeper {
	return &keeper{dir: dir, state: state, log: log, wake: make(chan struct{}, 1)}
}

// changed says that the state has changed.
func (k *keeper) changed() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then once more if there is need.
func (k *keeper) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-k.wake:
		case <-ctx.Done():
			select {
			case <-k.wake:
				k.write()
			default:
			}
			return
		}
		pause.Reset(k.write())
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// write writes the file, and returns how long to wait before the next time.
func (k *keeper) write() time.Duration {
	s := k.state()
	if s.version == nil {
		return 0
	}
	begun := time.Now()
	if err := writeState(k.dir, s); err != nil {
		k.log.Error("last-known-good file cannot be written", "rev", s.version.GetRevision(), "err", err)
		k.changed()
		return keepRetry
	}
	return max(keepEvery, keepShare*time.Since(begun))
}

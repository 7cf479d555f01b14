package pool

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// soon and later bound the pause after a connection that could not be made.
	soon  = 100 * time.Millisecond
	later = 3 * time.Second
	// hopeless is how long none can be made, while none is left, until it is
	// given up.
	hopeless = 10 * time.Second
)

// A Filler keeps a client's pool filled.
type Filler struct {
	Pool *Pool
	// Dial makes a connection and puts it into the pool.
	Dial func(context.Context) error
	// AtOnce is how many are made at a time.
	AtOnce int
	// Failed is told of what goes wrong meanwhile.
	Failed func(error)
}

// Run returns when ctx ends, or with an error when no connection can be made
// any more.
func (f *Filler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	dialled := make(chan error, f.AtOnce) // has room for all under way
	dialling := 0
	var underWay sync.WaitGroup
	defer underWay.Wait()
	defer cancel()
	var failures failures
	for {
		for !failures.pausing() && dialling < f.AtOnce && f.Pool.missing(dialling) > 0 {
			dialling++
			underWay.Go(func() { dialled <- f.Dial(ctx) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.Pool.changed:
		case <-failures.over:
			failures.over = nil
		case err := <-dialled:
			dialling--
			failures.count(err)
		}
		if failures.since(f.Pool.Len()) >= hopeless {
			return fmt.Errorf("no connection to the server can be made: %w", failures.last)
		}
		if failures.fresh && ctx.Err() == nil {
			failures.fresh = false
			f.Failed(failures.last)
		}
	}
}

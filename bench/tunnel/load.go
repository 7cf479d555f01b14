package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"signalbox/bench/child"
)

// patience bounds whatever users and targets wait for.
const patience = 20 * time.Second

// An order is a question to the load. Not all verbs look at all fields.
type order struct {
	// Do is the verb:
	//   target  begin to be a target, and answer its address
	//   open    connect Count users to Addr, and let bytes flow until "close"
	//   flow    answer how many bytes arrive during For
	//   hold    connect Count users to Addr, whose connections stay until "close",
	//           and answer how many there are
	//   close   end all connections
	//   visit   Count users at a time connect, send a byte, read one, and close,
	//           over and over during For: answer how many visits there were
	//   echo    Count users send datagrams of Size to Addr, and more as they come
	//           back, during For: answer how many did; then Rate of them a second,
	//           whatever comes back, during For
	// All answers but the first are a counted.
	Do    string
	Addr  string
	Count int
	// Down lets bytes flow from targets to users.
	Down bool
	// Size of datagrams, in bytes, at least 8.
	Size, Rate int
	For        time.Duration
	// Pids are the processes whose CPU time is measured meanwhile, with that of
	// their children where Forks says that they have any.
	Pids  []int
	Forks bool
}

// A counted is what an order came to.
type counted struct {
	Count int64 // how many there were
	// CPU that Pids used during what was counted, and how long it took.
	CPU, Took time.Duration
	// Failed is how many users gave up, and Err why one did.
	Failed int64
	Err    string
	// Offered and Returned are datagrams that were sent at a Rate, and came back.
	Offered, Returned int64
}

// ask gives an order to the load.
func ask(load *child.Child, o order, answer any) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return load.Ask(string(text), answer)
}

// beLoad is all users and all targets, in one process, so that what has come
// through is known without being told by anybody.
func beLoad(ctx context.Context, _ []byte, serve func(func(string) (any, error)) error) error {
	c := new(crowd)
	defer c.close()
	var all []*target
	defer func() {
		for _, t := range all {
			t.close()
		}
	}()
	return serve(func(question string) (any, error) {
		var o order
		if err := json.Unmarshal([]byte(question), &o); err != nil {
			return nil, err
		}
		switch o.Do {
		case "target":
			t, err := newTarget(ctx, &c.moved)
			if err != nil {
				return nil, err
			}
			all = append(all, t)
			return t.addr(), nil
		case "open":
			return nil, c.open(ctx, o)
		case "flow":
			return o.metered(living(c.family), func() counted { return c.flow(o.For) })
		case "hold":
			return c.hold(ctx, o), nil
		case "close":
			c.close()
			for _, t := range all {
				t.settle()
			}
			return nil, nil
		case "visit":
			return o.metered(o.ended, func() counted { return visit(ctx, o) })
		case "echo":
			return echo(ctx, o)
		}
		return nil, fmt.Errorf("there is no order %q", o.Do)
	})
}

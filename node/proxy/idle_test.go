package proxy

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// closing is a connection that remembers when it was closed.
type closing struct {
	net.Conn
	begun time.Time
	after atomic.Int64 // nanoseconds; 0 while it is open
}

func (c *closing) Close() error {
	c.after.CompareAndSwap(0, int64(time.Since(c.begun)))
	return nil
}

// wait has a connection wait for its next request from now on.
func wait(f *front) *closing {
	c := &closing{begun: time.Now()}
	f.idle.state(c, http.StateNew)
	f.idle.state(c, http.StateActive)
	f.idle.state(c, http.StateIdle)
	return c
}

// fronted is a front with an idle time.
func fronted(idle time.Duration) *front {
	f := &front{}
	f.idle.front = f
	f.rules.Store(&listener{idle: idle})
	return f
}

func TestAConnectionThatWaitsIsClosedWhenItsTimeIsOver(t *testing.T) {
	for _, idle := range []time.Duration{time.Second, 6 * time.Second, 75 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := fronted(idle)
			var all []*closing
			for range 100 {
				all = append(all, wait(f))
				time.Sleep(idle / 77) //nolint:forbidigo // simulated
			}
			time.Sleep(2 * idle) //nolint:forbidigo // simulated
			for i, c := range all {
				if got := time.Duration(c.after.Load()); got < idle || got > idle+min(idle/grain, maxGrain) {
					t.Errorf("the %d. was closed after %v, not %v", i, got, idle)
				}
				f.idle.state(c, http.StateClosed)
			}
		})
	}
}

func TestAShorterTimeHoldsForConnectionsThatWaitAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fronted(defaultIdle)
		c := wait(f)
		time.Sleep(time.Second) //nolint:forbidigo // simulated
		f.rules.Store(&listener{idle: 2 * time.Second})
		f.idle.changed()
		time.Sleep(time.Minute) //nolint:forbidigo // simulated
		if got := time.Duration(c.after.Load()); got != 2*time.Second {
			t.Errorf("closed after %v", got)
		}
		f.idle.state(c, http.StateClosed)
	})
}

func TestAConnectionThatIsUsedIsNotClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fronted(2 * time.Second)
		c := wait(f)
		for range 10 {
			time.Sleep(1900 * time.Millisecond) //nolint:forbidigo // simulated
			f.idle.state(c, http.StateActive)
			f.idle.state(c, http.StateIdle)
		}
		f.idle.state(c, http.StateActive)
		time.Sleep(time.Minute) //nolint:forbidigo // simulated
		if got := time.Duration(c.after.Load()); got != 0 {
			t.Errorf("closed after %v", got)
		}
		f.idle.state(c, http.StateClosed)
	})
}

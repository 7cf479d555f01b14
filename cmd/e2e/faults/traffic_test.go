//go:build e2e

package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	// requestPatience is how long a client waits for a node; longer is a
	// failure.
	requestPatience = 5 * time.Second
	// requestEvery is the pause of a client between two requests.
	requestEvery = 25 * time.Millisecond
	// socketEvery is the pause between two messages on a WebSocket.
	socketEvery = 100 * time.Millisecond
	// loaded is what the upstream puts before the path of a request, by the URL
	// that the scenario's route has for it.
	loaded = "load"
)

// Traffic is what users do all the while: through each node requests one after
// the other on a kept connection and on new ones, a WebSocket, a long stream.
// Of its failures only those on nodes that are up count.
type traffic struct {
	lab     *lab
	path    string // of the scenario's own route
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu sync.Mutex
	// begun counts requests of path that may have reached a node; answered has
	// those that surely did, by when they were answered and by whom.
	begun    int
	answered map[*part][]time.Time
	excused  int      // failed on nodes that were down
	failures []string // on nodes that were up
}

// startTraffic starts all of it, below a path that is served.
func (l *lab) startTraffic(ctx context.Context, t testing.TB, path string) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	u := &traffic{lab: l, path: path, cancel: cancel, answered: map[*part][]time.Time{}}
	for _, n := range l.of(node) {
		kept, fresh := l.client(t), l.client(t)
		fresh.Transport.(*http.Transport).DisableKeepAlives = true
		for _, client := range []*http.Client{kept, fresh} {
			u.running.Go(func() {
				for ctx.Err() == nil {
					u.ask(context.WithoutCancel(ctx), client, n)
					pause(ctx, requestEvery)
				}
			})
		}
		u.running.Go(func() { u.again(ctx, n, "WebSocket", u.chat) })
		u.running.Go(func() { u.again(ctx, n, "stream", u.listen) })
	}
	t.Cleanup(u.stop)
	return u
}

// stop lets what runs end. It may be called again.
func (u *traffic) stop() {
	u.cancel()
	u.running.Wait()
}

// ask sends one request, to its end.
func (u *traffic) ask(ctx context.Context, client *http.Client, n *part) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	began := time.Now()
	u.mu.Lock()
	u.begun++
	u.mu.Unlock()
	a, err := send(ctx, client, "GET", "http://"+n.name+":"+publicPort+u.path, "")
	if err == nil && (a.status != http.StatusOK || a.body != "/"+loaded+u.path) {
		err = fmt.Errorf("%d %q", a.status, a.body)
	}
	if err != nil {
		u.failed(n, "request", began, err)
		return
	}
	u.mu.Lock()
	u.answered[n] = append(u.answered[n], time.Now())
	u.mu.Unlock()
}

// answers counts what was answered by some of the nodes, between two moments.
func (u *traffic) answers(by []*part, from, to time.Time) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range by {
		for _, at := range u.answered[p] {
			if !at.Before(from) && !at.After(to) {
				n++
			}
		}
	}
	return n
}

// failed notes a failure, unless the node was down at some moment since it
// began.
func (u *traffic) failed(n *part, what string, began time.Time, err error) {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if n.wasDown(began, now) {
		u.excused++
		return
	}
	u.failures = append(u.failures, fmt.Sprintf("%s %s through %s, begun %v before: %v",
		now.UTC().Format("15:04:05.000"), what, n.name, now.Sub(began).Round(time.Millisecond), err))
}

// again keeps something long open through a node, and opens it anew when it
// has ended; that is a failure where the node was up.
func (u *traffic) again(ctx context.Context, n *part, what string, open func(context.Context, *part, func()) error) {
	for ctx.Err() == nil {
		for n.isDown() && pause(ctx, socketEvery) {
			continue
		}
		// Each piece that comes is a success; what counts is the time since.
		var began time.Time
		progress := func() { began = time.Now() }
		progress()
		stays, leave := context.WithCancel(ctx)
		var leaving sync.WaitGroup
		leaving.Go(func() { leaves(stays, n, leave) })
		err := open(stays, n, progress)
		left := stays.Err() != nil
		leave()
		leaving.Wait()
		if err != nil && !left {
			u.failed(n, what, began, err)
			pause(ctx, requestEvery)
		}
	}
}

// leaves ends what is open through a node that has been down for a while: its
// users have gone elsewhere, and it need not wait for them.
func leaves(ctx context.Context, n *part, leave func()) {
	for down := 0; pause(ctx, socketEvery); {
		if down++; !n.isDown() {
			down = 0
		}
		if time.Duration(down)*socketEvery > slowly+hold/2 {
			leave()
		}
	}
}

// chat sends messages over a WebSocket until ctx ends.
func (u *traffic) chat(ctx context.Context, n *part, progress func()) error {
	s, err := u.lab.openSocket(ctx, n, "/open/socket")
	if err != nil {
		return err
	}
	defer func() { _ = s.conn.Close() }()
	for i := 0; pause(ctx, socketEvery); i++ {
		progress()
		if err := s.echoes(fmt.Sprint(i)); err != nil {
			return err
		}
	}
	return nil
}

// listen reads a stream until ctx ends: no line may be missing.
func (u *traffic) listen(ctx context.Context, n *part, progress func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(requestPatience, func() { cancel(errors.New("nothing comes any more")) })
	defer late.Stop()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.name+":"+publicPort+"/open/stream", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: u.lab.connect, DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = res.Body.Close() }()
	in := bufio.NewReader(res.Body)
	for want := 0; ; want++ {
		var got int
		_, err := fmt.Fscanln(in, &got)
		if err == nil && got != want {
			err = fmt.Errorf("got %d", got)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("line %d: %w", want, err), context.Cause(ctx))
		}
		late.Reset(requestPatience)
		progress()
	}
}

// slowRequest sends a request that takes a moment.
func (l *lab) slowRequest(ctx context.Context, n *part) error {
	a, err := send(ctx, l.http, "GET", "http://"+n.name+":"+publicPort+"/open/slow", "")
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%d %q", a.status, a.body)
	}
	return err
}

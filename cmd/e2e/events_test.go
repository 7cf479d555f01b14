//go:build e2e

// Events over HTTP are resumable: whoever comes back with the last id it saw,
// to whichever control plane was there meanwhile, misses nothing and gets
// nothing twice; one that was not there says that something may be missing.

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A follower follows events as a browser does: when the response ends it comes
// back with the last id it was given.
type follower struct {
	mu     sync.Mutex
	last   string
	names  []string // of the routes told of, in order
	ids    map[string]int
	resets int
	visits int
}

// follow reads responses from one API after the other until ctx ends.
func (f *follower) follow(ctx context.Context, key string, apis ...string) {
	for i := 0; ctx.Err() == nil; i++ {
		f.visit(ctx, key, apis[i%len(apis)])
	}
}

// visit reads one response with curl, to its end.
func (f *follower) visit(ctx context.Context, key, api string) {
	f.mu.Lock()
	last := f.last
	f.visits++
	f.mu.Unlock()
	args := []string{"-sSN", "--max-time", "600", "-H", "@-", "http://" + api + "/v1/events?kinds=route"}
	cmd := exec.CommandContext(ctx, "curl", args...)
	header := "Authorization: Bearer " + key + "\n"
	if last != "" {
		header += "Last-Event-ID: " + last + "\n"
	}
	cmd.Stdin = strings.NewReader(header) // not on the command line, for all to see
	out, err := cmd.StdoutPipe()
	if err != nil {
		return
	}
	if err := cmd.Start(); err != nil {
		return
	}
	in := bufio.NewScanner(out)
	var event, id, data string
	for in.Scan() {
		field, value, _ := strings.Cut(in.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			f.take(event, id, data)
			event, id, data = "", "", ""
		}
	}
	_ = cmd.Wait() // it ends with the server, or is ended
}

// take takes note of one event.
func (f *follower) take(event, id, data string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if event == "error" {
		return // the response ends, and has no id
	}
	if id != "" {
		f.last = id
	}
	switch event {
	case "reset":
		f.resets++
	case "created", "updated", "removed":
		f.ids[id]++
		name, _ := (answer{body: data}).at("name").(string)
		f.names = append(f.names, name)
	}
}

// seen is the last id, and how many resets there were.
func (f *follower) seen() (resets int, last string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.resets, f.last
}

// told is the names of the routes that were told of, in order.
func (f *follower) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.names)
}

func TestEventsAreResumedOverAKill(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED: there is no curl on this machine")
	}
	c := newCluster(t, 2, 0)
	f := &follower{ids: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	t.Cleanup(following.Wait)
	t.Cleanup(stop)
	following.Go(func() { f.follow(ctx, c.admin, c.planes[0].api, c.planes[1].api) })
	eventually(t, "it follows", func(context.Context) error {
		if _, last := f.seen(); last == "" {
			return errors.New("no id yet")
		}
		return nil
	})

	// Writes go through whichever control plane is there, while they are killed
	// in turn.
	var want []string
	write := func(plane, times int) {
		t.Helper()
		for range times {
			name := "e" + strconv.Itoa(len(want))
			api := c.planes[plane].rest
			api.want(200, "POST", "/v1/routes", fmt.Sprintf(`{"route":{"name":%q,"match":{"pathPrefix":"/%s"},"upstreams":[{"url":"http://h:1"}]}}`, name, name))
			want = append(want, name)
		}
	}
	told := func(what string, last string) {
		t.Helper()
		eventually(t, what, func(context.Context) error {
			if names := f.told(); len(names) == 0 || names[len(names)-1] != last {
				return fmt.Errorf("told of %d, the last is not %s", len(names), last)
			}
			return nil
		})
	}
	write(1, 60)
	c.planes[0].kill()
	write(1, 60) // while the follower finds the other
	told("what happened while it was on its way", "e119")
	c.planes[0].start()
	c.awaitPlane(c.planes[0])
	write(1, 1)
	told("one event that both know", "e120")
	c.planes[1].kill()
	write(0, 60)
	told("what happened while it was on its way back", "e180")
	if got := strings.Join(f.told(), " "); got != strings.Join(want, " ") || f.resets != 0 {
		t.Errorf("with %d resets, told of %s\nwrote %s", f.resets, got, strings.Join(want, " "))
	}

	// A control plane that starts knows what is, and not what was: after it a
	// follower is told so, or of everything.
	c.planes[0].kill()
	c.planes[1].start()
	c.awaitPlane(c.planes[1])
	write(1, 10)
	eventually(t, "it has come back", func(context.Context) error {
		if resets, _ := f.seen(); resets == 0 && len(f.told()) < len(want) {
			return errors.New("not yet")
		}
		return nil
	})
	write(1, 10)
	told("what happens from then on", "e200")
	stop()
	following.Wait()

	for id, n := range f.ids {
		if n != 1 {
			t.Errorf("event %s was told %d times", id, n)
		}
	}
	if names := f.told(); f.resets == 0 && len(names) != len(want) {
		t.Errorf("without a reset, told of %d of %d", len(names), len(want))
	} else if got, last := strings.Join(names[len(names)-10:], " "), strings.Join(want[191:], " "); got != last {
		t.Errorf("told of %s, wrote %s", got, last)
	}
	t.Logf("%d of %d events over %d responses, with %d resets", len(f.names), len(want), f.visits, f.resets)
}

// The operator's client follows on at another control plane when its own dies.
func TestTheClientFollowsEventsOverAKill(t *testing.T) {
	c := newCluster(t, 2, 1)
	to := newUpstream(t, "up")
	p := c.process("events", []string{"SIGNALBOX_KEY=" + c.admin}, "events", "--kind", "route", "--controlplane", c.planes[0].grpc+","+c.planes[1].grpc)
	p.start()
	i := 0
	write := func(plane int) string {
		i++
		name := fmt.Sprintf("e%d", i)
		c.services(plane).put(t, route(name, "/"+name, to.url))
		return fmt.Sprintf("created %q", name)
	}
	// Until it follows, it may miss what is written.
	eventually(t, "the client follows", func(context.Context) error {
		if write(0); len(tail(p.out, 1)) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	for _, dies := range []int{0, 1} { // one of them is whom it follows
		c.planes[dies].kill()
		// Of what was written meanwhile a control plane that was started since
		// knows nothing, and says so.
		var written []string
		eventually(t, "the client tells of what is written", func(context.Context) error {
			written = append(written, write(1-dies))
			got := string(tail(p.out, 1000))
			if !slices.ContainsFunc(written, func(what string) bool { return strings.Contains(got, what) }) {
				return fmt.Errorf("only %s", got)
			}
			return nil
		})
		c.planes[dies].start()
		c.awaitPlane(c.planes[dies])
	}
	if code := p.stop(syscall.SIGINT); code != 0 {
		t.Errorf("interrupted, it exits with %d", code)
	}
	if n := strings.Count(string(tail(p.log, 100)), "following on"); n != 1 && n != 2 {
		t.Errorf("it tells of %d control planes that are gone: %s", n, tail(p.log, 100))
	}
}

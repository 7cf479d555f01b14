package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// A cluster is three members on loopback.
type cluster struct {
	t       *testing.T
	cfgs    []embedded.Config
	members []*embedded.Member // nil for those that are stopped
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, members: make([]*embedded.Member, 3)}
	var all []string
	for i := range 3 {
		peer, client := freeURL(t), freeURL(t)
		all = append(all, fmt.Sprintf("m%d=%s", i, peer))
		c.cfgs = append(c.cfgs, embedded.Config{
			DataDir:          t.TempDir(),
			Name:             fmt.Sprintf("m%d", i),
			ListenPeerURLs:   []string{peer},
			ListenClientURLs: []string{client},
			Tick:             20 * time.Millisecond,
			Unsafe:           true,
		})
	}
	for i := range c.cfgs {
		c.cfgs[i].InitialCluster = strings.Join(all, ",")
	}
	c.start(0, 1, 2)
	t.Cleanup(func() { c.kill(0, 1, 2) })
	return c
}

// freeURL returns a URL at which nobody listens.
func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// start starts members together: the first ones are ready only when there are
// most of them.
func (c *cluster) start(which ...int) {
	c.t.Helper()
	var wg sync.WaitGroup
	for _, i := range which {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
			defer cancel()
			m, err := embedded.Start(ctx, c.cfgs[i])
			if err != nil {
				c.t.Errorf("member %d: %v", i, err)
				return
			}
			c.members[i] = m
		})
	}
	wg.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// kill ends members as if their processes were killed.
func (c *cluster) kill(which ...int) {
	var wg sync.WaitGroup
	for _, i := range which {
		if m := c.members[i]; m != nil {
			wg.Go(m.Kill)
			c.members[i] = nil
		}
	}
	wg.Wait()
}

// leader returns which member leads.
func (c *cluster) leader() int {
	c.t.Helper()
	for i, m := range c.members {
		if m == nil {
			continue
		}
		status, err := m.Client().Status(c.t.Context(), "")
		if err == nil && status.Leader == status.Header.MemberId {
			return i
		}
	}
	c.t.Fatal("no member leads")
	return 0
}

func (c *cluster) endpoints() []string {
	var all []string
	for _, cfg := range c.cfgs {
		all = append(all, cfg.ListenClientURLs...)
	}
	return all
}

// write writes a route as a client has to: again, until it is known that it is
// written.
func write(t *testing.T, k *etcd.Keeper, name, to string) store.Revision {
	t.Helper()
	for {
		rev, err := k.Commit(t.Context(), route(name, to))
		if err == nil {
			return rev
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("commit: %v", err)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	t.Run("a lost member is not missed", func(t *testing.T) { losesMembers(t, c) })
	t.Run("without most members nothing old is passed off as new", func(t *testing.T) { losesQuorum(t, c) })
}

// One of two ways hangs, as to a member that is stopped or out of reach: it
// does not break, it only does not answer.
func TestReadsPassOverAMemberThatHangs(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	w := newWire(t, m.ClientAddrs()[0])
	k := open(t, etcd.Config{Endpoints: []string{w.addr(), m.ClientAddrs()[0]}})
	commit(t, k, route("a", "one"))
	v := head(t, k)
	w.flow.Lock()
	defer w.flow.Unlock()
	for range 2 { // which take turns
		if got, err := k.Head(t.Context()); err != nil || got != v {
			t.Errorf("head is %+v, %v, want %+v", got, err, v)
		}
	}
}

// A write cannot be tried twice, so none may be sent to a member that is known
// to hang; and who follows does not wait for that one either.
func TestWritesAndFollowersGoAroundAMemberThatHangs(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	addr := m.ClientAddrs()[0]
	first, second := newWire(t, addr), newWire(t, addr)
	k := open(t, etcd.Config{Endpoints: []string{first.addr(), second.addr()}})
	other := open(t, etcd.Config{Endpoints: []string{addr}})
	commit(t, other, route("a", "one"))
	tables := []*table{follow(t, k), follow(t, k)} // not both over one wire
	for _, tb := range tables {
		tb.first()
	}
	first.flow.Lock()
	defer first.flow.Unlock()
	// gRPC by itself would send every other write there for 13 s.
	for inRow, tries, failed := 0, 0, 0; inRow < 6; tries++ { // they take turns
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := k.Commit(ctx, route("a", fmt.Sprint(tries)))
		cancel()
		switch {
		case err == nil:
			inRow++
		case !errors.Is(err, store.ErrUnavailable):
			t.Fatal(err)
		case failed > 8:
			t.Fatal("writes are still sent to the member that hangs")
		default:
			inRow = 0
			failed++
		}
	}
	commit(t, other, route("a", "last"))
	v := head(t, other)
	for _, tb := range tables {
		tb.reach(v)
		if tb.wholes != 1 {
			t.Errorf("a follower was given %d whole states, want one", tb.wholes)
		}
	}
}

func losesMembers(t *testing.T, c *cluster) {
	k, other := open(t, etcd.Config{Endpoints: c.endpoints()}), open(t, etcd.Config{Endpoints: c.endpoints()})
	write(t, k, "start", "one")
	tables := []*table{follow(t, k), follow(t, k), follow(t, other)} // not all on one member
	for _, tb := range tables {
		tb.first()
	}
	epoch := head(t, k).Epoch
	order := []int{0, 1, 2}
	leader := c.leader()
	slices.SortFunc(order, func(a, b int) int { // the leader last
		return map[bool]int{true: 1}[a == leader] - map[bool]int{true: 1}[b == leader]
	})
	for _, lost := range order {
		c.kill(lost)
		for i := range 5 {
			rev := write(t, k, fmt.Sprint(lost), fmt.Sprint(i))
			if v := head(t, other); v.Revision < rev || v.Epoch != epoch {
				t.Errorf("without member %d: committed %d, head is %+v", lost, rev, v)
			}
		}
		v := head(t, k)
		for _, tb := range tables {
			tb.reach(v)
			if got := tb.routes[fmt.Sprint(lost)]; got != "http://4" {
				t.Errorf("without member %d a follower has %q", lost, got)
			}
		}
		c.start(lost)
	}
	for _, tb := range tables {
		if tb.wholes != 1 {
			t.Errorf("a follower was given %d whole states, want one", tb.wholes)
		}
	}
}

func losesQuorum(t *testing.T, c *cluster) {
	k := open(t, etcd.Config{Endpoints: c.endpoints()})
	write(t, k, "a", "one")
	tb := follow(t, k)
	tb.first()
	before := head(t, k)
	leader := c.leader()
	lost := []int{leader, (leader + 1) % 3}
	c.kill(lost...)

	var wg sync.WaitGroup
	for what, call := range map[string]func(context.Context) error{
		"commit": func(ctx context.Context) error { _, err := k.Commit(ctx, route("a", "lost")); return err },
		"head":   func(ctx context.Context) error { _, err := k.Head(ctx); return err },
		"read": func(ctx context.Context) error {
			_, _, err := k.Read(ctx, store.Key{Kind: store.KindRoute, Name: "a"})
			return err
		},
		"put notes": func(ctx context.Context) error { return k.PutNotes(ctx, []store.Note{{Name: "n"}}, nil) },
	} {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := call(ctx); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: got %v", what, err)
			}
		})
	}
	wg.Wait()

	c.start(lost...)
	write(t, k, "a", "two")
	v := head(t, k)
	tb.reach(v)
	if v.Epoch != before.Epoch || tb.wholes != 1 || tb.routes["a"] != "http://two" {
		t.Errorf("head was %+v, is %+v; the follower was given %d whole states and has %v", before, v, tb.wholes, tb.routes)
	}
}

package api_test

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

const (
	running = signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING
	stopped = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
)

func instance(name, url string) *signalboxv1.Instance {
	return &signalboxv1.Instance{Name: name, Url: url}
}

const aServer = "server://a-key@:10101/127.0.0.1:8080"

func (p *plane) putInstance(i *signalboxv1.Instance) *signalboxv1.Instance {
	p.t.Helper()
	res, err := p.instances.PutInstance(bounded(p.t), &signalboxv1.PutInstanceRequest{Instance: i})
	if err != nil {
		p.t.Fatalf("PutInstance(%q) = %v", i.GetName(), err)
	}
	return res.GetInstance()
}

func (p *plane) update(req *signalboxv1.UpdateInstanceRequest) *signalboxv1.UpdateInstanceResponse {
	p.t.Helper()
	res, err := p.instances.UpdateInstance(bounded(p.t), req)
	if err != nil {
		p.t.Fatalf("UpdateInstance(%v) = %v", req, err)
	}
	return res
}

func (p *plane) instance(name string) *signalboxv1.Instance {
	p.t.Helper()
	res, err := p.instances.GetInstance(bounded(p.t), &signalboxv1.GetInstanceRequest{Name: name})
	if err != nil {
		p.t.Fatalf("GetInstance(%q) = %v", name, err)
	}
	return res.GetInstance()
}

// assign writes an assignment, as the one who is elected does.
func (p *plane) assign(name string, nodes ...string) {
	p.t.Helper()
	_, err := p.store.Commit(bounded(p.t), store.Txn{Put: []store.Record{{
		Key:     store.Key{Kind: store.KindAssignment, Name: name},
		Message: &signalboxv1.Assignment{Instance: name, Nodes: nodes, Meta: &signalboxv1.Meta{}},
	}}})
	if err != nil {
		p.t.Fatal(err)
	}
}

func TestPutInstance(t *testing.T) {
	t.Run("one without a name is given one of 8 hexadecimal digits", func(t *testing.T) {
		p := start(t, mem.New())
		names := map[string]bool{}
		for range 20 {
			i := p.putInstance(instance("", aServer))
			if !regexp.MustCompile("^[0-9a-f]{8}$").MatchString(i.GetName()) || names[i.GetName()] {
				t.Fatalf("it is called %q, after %v", i.GetName(), names)
			}
			names[i.GetName()] = true
			if got := p.instance(i.GetName()); got.GetUrl() != aServer || got.GetWanted() != running {
				t.Errorf("it is %v", got)
			}
		}
	})
	t.Run("in place of another it keeps what was counted", func(t *testing.T) {
		p := start(t, mem.New())
		first := p.putInstance(instance("a", aServer))
		p.update(&signalboxv1.UpdateInstanceRequest{Name: "a", Reset_: true, Action: signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART})
		next := instance("a", aServer)
		next.Alias, next.Starts, next.Resets = "x", 70, 80
		next = p.putInstance(next)
		if next.GetStarts() != 1 || next.GetResets() != 1 || next.GetMeta().GetCreatedRevision() != first.GetMeta().GetCreatedRevision() {
			t.Errorf("it is %v", next)
		}
		if next.GetMeta().GetRevision() <= first.GetMeta().GetRevision() {
			t.Errorf("its revision is that of before: %v", next)
		}
	})
	t.Run("another url begins anew, and so does one that stood", func(t *testing.T) {
		p := start(t, mem.New())
		i := instance("a", aServer)
		i.Wanted = stopped
		p.putInstance(i)
		if got := p.putInstance(instance("a", aServer)); got.GetStarts() != 1 {
			t.Errorf("started: %v", got)
		}
		if got := p.putInstance(instance("a", aServer+"?slot=3")); got.GetStarts() != 2 {
			t.Errorf("of another url: %v", got)
		}
		if got := p.putInstance(instance("a", aServer+"?slot=3")); got.GetStarts() != 2 {
			t.Errorf("the same: %v", got)
		}
	})
	t.Run("what is wrong is named and nothing is written", func(t *testing.T) {
		p := start(t, mem.New())
		put := func(req *signalboxv1.PutInstanceRequest) error {
			_, err := p.instances.PutInstance(bounded(t), req)
			return err
		}
		refused(t, put(&signalboxv1.PutInstanceRequest{}), codes.InvalidArgument, "instance")
		bad := instance("A", "tcp://x")
		bad.Alias = strings.Repeat("x", 257)
		refused(t, put(&signalboxv1.PutInstanceRequest{Instance: bad, Wait: 9}), codes.InvalidArgument, "instance.name", "instance.alias", "instance.url", "wait")
		refused(t, put(&signalboxv1.PutInstanceRequest{Instance: instance("", aServer), ExpectedRevision: ptr(int64(3))}), codes.InvalidArgument, "instance.name")
		refused(t, put(&signalboxv1.PutInstanceRequest{Instance: instance("a", aServer), ExpectedRevision: ptr(int64(3))}), codes.Aborted)
		p.putInstance(instance("a", aServer))
		refused(t, put(&signalboxv1.PutInstanceRequest{Instance: instance("a", aServer), ExpectedRevision: ptr(int64(0))}), codes.AlreadyExists)
	})
	t.Run("validating writes nothing and promises no name", func(t *testing.T) {
		p := start(t, mem.New())
		res, err := p.instances.PutInstance(bounded(t), &signalboxv1.PutInstanceRequest{Instance: instance("", aServer), ValidateOnly: true})
		if err != nil || res.GetInstance().GetName() != "" {
			t.Errorf("got %v, %v", res, err)
		}
		all, err := p.instances.ListInstances(bounded(t), &signalboxv1.ListInstancesRequest{})
		if err != nil || len(all.GetInstances()) != 0 {
			t.Errorf("there are %v, %v", all, err)
		}
	})
}

func TestUpdateInstance(t *testing.T) {
	const (
		begin = signalboxv1.InstanceAction_INSTANCE_ACTION_START
		halt  = signalboxv1.InstanceAction_INSTANCE_ACTION_STOP
		again = signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART
		clear = signalboxv1.InstanceAction_INSTANCE_ACTION_RESET
	)
	for name, c := range map[string]struct {
		wanted signalboxv1.InstanceWanted
		req    *signalboxv1.UpdateInstanceRequest
		want   *signalboxv1.Instance // nil: as before, and nothing is written
	}{
		"nothing is no write":          {running, &signalboxv1.UpdateInstanceRequest{}, nil},
		"the same is no write":         {running, &signalboxv1.UpdateInstanceRequest{Alias: ptr(""), Restart: ptr(false), Peer: &signalboxv1.InstancePeer{}, Tags: &signalboxv1.InstanceTags{}}, nil},
		"to start one that runs":       {running, &signalboxv1.UpdateInstanceRequest{Action: begin}, nil},
		"to stop one that stands":      {stopped, &signalboxv1.UpdateInstanceRequest{Action: halt}, nil},
		"to start one that stands":     {stopped, &signalboxv1.UpdateInstanceRequest{Action: begin}, &signalboxv1.Instance{Wanted: running, Starts: 1}},
		"to stop one that runs":        {running, &signalboxv1.UpdateInstanceRequest{Action: halt}, &signalboxv1.Instance{Wanted: stopped}},
		"to restart one that runs":     {running, &signalboxv1.UpdateInstanceRequest{Action: again}, &signalboxv1.Instance{Wanted: running, Starts: 1}},
		"to restart one that stands":   {stopped, &signalboxv1.UpdateInstanceRequest{Action: again}, &signalboxv1.Instance{Wanted: running, Starts: 1}},
		"to reset":                     {running, &signalboxv1.UpdateInstanceRequest{Action: clear}, &signalboxv1.Instance{Wanted: running, Resets: 1}},
		"to reset twice over is once":  {running, &signalboxv1.UpdateInstanceRequest{Action: clear, Reset_: true}, &signalboxv1.Instance{Wanted: running, Resets: 1}},
		"to reset and restart at once": {running, &signalboxv1.UpdateInstanceRequest{Action: again, Reset_: true}, &signalboxv1.Instance{Wanted: running, Resets: 1, Starts: 1}},
		"to reset, stop and say all others": {
			running,
			&signalboxv1.UpdateInstanceRequest{
				Action: halt, Reset_: true, Alias: ptr("x"), Restart: ptr(true),
				Tags: &signalboxv1.InstanceTags{Tags: map[string]string{"k": "v"}}, Peer: &signalboxv1.InstancePeer{Sid: "s"},
			},
			&signalboxv1.Instance{
				Wanted: stopped, Resets: 1, Alias: "x", Restart: true,
				Tags: map[string]string{"k": "v"}, Peer: &signalboxv1.InstancePeer{Sid: "s"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, mem.New())
			i := instance("a", aServer)
			i.Wanted = c.wanted
			before := p.putInstance(i)
			c.req.Name = "a"
			res := p.update(c.req)
			got, want := res.GetInstance(), c.want
			if c.want == nil {
				want = proto.CloneOf(before)
				if got.GetMeta().GetRevision() != before.GetMeta().GetRevision() {
					t.Errorf("it was written: %v", got)
				}
			} else {
				want.Name, want.Url = "a", aServer
				if got.GetMeta().GetRevision() <= before.GetMeta().GetRevision() {
					t.Errorf("it was not written: %v", got)
				}
			}
			if res.GetResult().GetVersion().GetRevision() != got.GetMeta().GetRevision() {
				t.Errorf("answered with version %v of %v", res.GetResult().GetVersion(), got.GetMeta())
			}
			stored := p.instance("a")
			if stored.GetMeta().GetRevision() != got.GetMeta().GetRevision() {
				t.Errorf("stored is %v, answered %v", stored, got)
			}
			for _, i := range []*signalboxv1.Instance{got, want, stored} {
				i.Meta, i.Observed = nil, nil
			}
			if !proto.Equal(got, want) || !proto.Equal(stored, want) {
				t.Errorf("got %v, stored %v, want %v", got, stored, want)
			}
		})
	}
	t.Run("what is wrong is named", func(t *testing.T) {
		p := start(t, mem.New())
		long := strings.Repeat("x", 257)
		_, err := p.instances.UpdateInstance(bounded(t), &signalboxv1.UpdateInstanceRequest{
			Alias: ptr(long), Tags: &signalboxv1.InstanceTags{Tags: map[string]string{"": "x"}},
			Peer: &signalboxv1.InstancePeer{Alias: long}, Action: 9, ExpectedRevision: ptr(int64(-1)), Wait: 9,
		})
		refused(t, err, codes.InvalidArgument, "name", "alias", "peer.alias", `tags.tags[""]`, "action", "expected_revision", "wait")
		_, err = p.instances.UpdateInstance(bounded(t), &signalboxv1.UpdateInstanceRequest{Name: "none"})
		refused(t, err, codes.NotFound)
		p.putInstance(instance("a", aServer))
		_, err = p.instances.UpdateInstance(bounded(t), &signalboxv1.UpdateInstanceRequest{Name: "a", ExpectedRevision: ptr(int64(1))})
		refused(t, err, codes.Aborted)
	})
}

// Of changes that two replicas are asked for at once none is lost.
func TestUpdatesOfAnInstanceAtOnce(t *testing.T) {
	st := mem.New()
	planes := []*plane{start(t, st), start(t, st.Another())}
	planes[0].putInstance(instance("a", aServer))
	ctx := bounded(t)
	var wg sync.WaitGroup
	const each = 10
	for _, p := range planes {
		wg.Go(func() {
			for range each {
				req := &signalboxv1.UpdateInstanceRequest{Name: "a", Reset_: true, Action: signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART}
				if _, err := p.instances.UpdateInstance(ctx, req); err != nil {
					t.Errorf("UpdateInstance = %v", err)
				}
			}
		})
	}
	wg.Wait()
	for _, p := range planes {
		if i := p.instance("a"); i.GetStarts() != 2*each || i.GetResets() != 2*each {
			t.Errorf("after %d updates it is %v", 2*each, i)
		}
	}
}

func TestDeleteInstance(t *testing.T) {
	st := mem.New()
	p := start(t, st)
	p.putInstance(instance("a", aServer))
	p.assign("a", "n")
	res, err := p.instances.DeleteInstance(bounded(t), &signalboxv1.DeleteInstanceRequest{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	view, err := p.replica.Reach(bounded(t), version(res.GetResult().GetVersion()))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []store.Kind{store.KindInstance, store.KindAssignment} {
		if r := view.Get(store.Key{Kind: kind, Name: "a"}); r != nil {
			t.Errorf("there is still %v", r)
		}
	}
	_, err = p.instances.DeleteInstance(bounded(t), &signalboxv1.DeleteInstanceRequest{Name: "a"})
	refused(t, err, codes.NotFound)
	_, err = p.instances.GetInstance(bounded(t), &signalboxv1.GetInstanceRequest{Name: "a"})
	refused(t, err, codes.NotFound)
	_, err = p.instances.DeleteInstance(bounded(t), &signalboxv1.DeleteInstanceRequest{})
	refused(t, err, codes.InvalidArgument, "name")
}

// An assignment that was made a moment ago goes too, though the view that the
// removal was planned on does not hold it.
func TestAnInstanceIsRemovedWithAnAssignmentThatIsNotKnownYet(t *testing.T) {
	st := mem.New()
	other := start(t, st)
	p, c := lagging(t, st)
	p.putInstance(instance("a", aServer))
	if _, err := p.replica.Current(bounded(t)); err != nil {
		t.Fatal(err)
	}
	c.let(false)
	other.assign("a", "n")
	res, err := p.instances.DeleteInstance(bounded(t), &signalboxv1.DeleteInstanceRequest{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	view, err := other.replica.Reach(bounded(t), version(res.GetResult().GetVersion()))
	if err != nil {
		t.Fatal(err)
	}
	if r := view.Get(store.Key{Kind: store.KindAssignment, Name: "a"}); r != nil {
		t.Errorf("there is still %v", r)
	}
}

// A key in a URL is for those who may write instances.
func TestKeysOfInstancesAreShownToWritersAlone(t *testing.T) {
	p := start(t, mem.New())
	p.putInstance(instance("a", aServer))
	const hidden = "server://********@:10101/127.0.0.1:8080"
	for scope, want := range map[string]string{"instances:read": hidden, "instances:write": aServer, "admin": aServer} {
		t.Run(scope, func(t *testing.T) {
			ctx := as(bounded(t), p.key(strings.ReplaceAll(scope, ":", "-"), scope))
			got, err := p.instances.GetInstance(ctx, &signalboxv1.GetInstanceRequest{Name: "a"})
			if err != nil || got.GetInstance().GetUrl() != want {
				t.Errorf("GetInstance = %v, %v", got, err)
			}
			all, err := p.instances.ListInstances(ctx, &signalboxv1.ListInstancesRequest{})
			if err != nil || len(all.GetInstances()) != 1 || all.GetInstances()[0].GetUrl() != want {
				t.Errorf("ListInstances = %v, %v", all, err)
			}
		})
	}
	ctx := as(bounded(t), p.key("r", "instances:read"))
	for what, call := range map[string]func(context.Context) error{
		"PutInstance": func(ctx context.Context) error {
			_, err := p.instances.PutInstance(ctx, &signalboxv1.PutInstanceRequest{Instance: instance("b", aServer)})
			return err
		},
		"UpdateInstance": func(ctx context.Context) error {
			_, err := p.instances.UpdateInstance(ctx, &signalboxv1.UpdateInstanceRequest{Name: "a"})
			return err
		},
		"DeleteInstance": func(ctx context.Context) error {
			_, err := p.instances.DeleteInstance(ctx, &signalboxv1.DeleteInstanceRequest{Name: "a"})
			return err
		},
	} {
		t.Run(what+" is for writers alone", func(t *testing.T) { refused(t, call(ctx), codes.PermissionDenied) })
	}
}

func TestListInstancesInPages(t *testing.T) {
	p := start(t, mem.New())
	for _, name := range []string{"c", "a", "b"} {
		p.putInstance(instance(name, aServer))
	}
	var names []string
	req := &signalboxv1.ListInstancesRequest{PageSize: 2}
	for {
		res, err := p.instances.ListInstances(bounded(t), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range res.GetInstances() {
			names = append(names, i.GetName())
		}
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if strings.Join(names, " ") != "a b c" {
		t.Errorf("listed are %q", names)
	}
}

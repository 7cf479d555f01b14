package gatewaytest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// Instance returns a stored instance, or nil.
func (c *ControlPlane) Instance(name string) *signalboxv1.Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return proto.CloneOf(c.instances[name])
}

// PutInstances writes instances as an operator would.
func (c *ControlPlane) PutInstances(all ...*signalboxv1.Instance) error {
	for _, i := range all {
		if _, err := c.PutInstance(context.Background(), &signalboxv1.PutInstanceRequest{Instance: i}); err != nil {
			return err
		}
	}
	return nil
}

// Observe changes what is observed of an instance, and tells of it.
func (c *ControlPlane) Observe(name string, change func(*signalboxv1.InstanceObserved)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c.observed(name))
	c.publish(&signalboxv1.Event{
		Type: signalboxv1.EventType_EVENT_TYPE_OBSERVED, Kind: signalboxv1.Kind_KIND_INSTANCE, Name: name,
		Record: &signalboxv1.Event_Instance{Instance: proto.CloneOf(c.instances[name])},
	})
}

// Carry has an instance count, of which nothing is told.
func (c *ControlPlane) Carry(name string, counters *signalboxv1.InstanceCounters) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observed(name).Counters = counters
}

// observed is what is observed of an instance there is, to be changed.
func (c *ControlPlane) observed(name string) *signalboxv1.InstanceObserved {
	i := c.instances[name]
	if i.Observed == nil {
		i.Observed = &signalboxv1.InstanceObserved{}
	}
	return i.Observed
}

// Say has an instance log a line.
func (c *ControlPlane) Say(line *signalboxv1.LogLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
	c.wake()
}

// PutInstance implements InstanceService.
func (c *ControlPlane) PutInstance(_ context.Context, req *signalboxv1.PutInstanceRequest) (*signalboxv1.PutInstanceResponse, error) {
	i := proto.CloneOf(req.GetInstance())
	if _, err := tunnelurl.Parse(i.GetUrl()); err != nil {
		return nil, status.Error(codes.InvalidArgument, "instance.url: "+err.Error())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i.Name == "" {
		c.made++
		i.Name = fmt.Sprintf("%08x", c.made)
	}
	old := c.instances[i.Name]
	if req.ExpectedRevision != nil && req.GetExpectedRevision() != old.GetMeta().GetRevision() {
		return nil, status.Errorf(codes.Aborted, "instance %q is at revision %d", i.Name, old.GetMeta().GetRevision())
	}
	if req.GetValidateOnly() {
		return &signalboxv1.PutInstanceResponse{Instance: i, Result: &signalboxv1.WriteResult{}}, nil
	}
	i.Observed, i.Starts, i.Resets = old.GetObserved(), old.GetStarts(), old.GetResets()
	return &signalboxv1.PutInstanceResponse{Instance: c.keep(i, old), Result: c.result(req.GetWait())}, nil
}

// keep stores an instance in old's place and tells of it.
func (c *ControlPlane) keep(i, old *signalboxv1.Instance) *signalboxv1.Instance {
	c.revision++
	now := timestamppb.Now()
	i.Meta = &signalboxv1.Meta{Revision: c.revision, CreatedRevision: c.revision, CreateTime: now, UpdateTime: now}
	kind := signalboxv1.EventType_EVENT_TYPE_CREATED
	if old != nil {
		i.Meta.CreatedRevision, i.Meta.CreateTime = old.Meta.CreatedRevision, old.Meta.CreateTime
		kind = signalboxv1.EventType_EVENT_TYPE_UPDATED
	}
	c.instances[i.Name] = i
	record := proto.CloneOf(i)
	record.Observed = nil
	c.publish(&signalboxv1.Event{
		Type: kind, Kind: signalboxv1.Kind_KIND_INSTANCE, Name: i.Name,
		Record: &signalboxv1.Event_Instance{Instance: record},
	})
	return proto.CloneOf(i)
}

// UpdateInstance implements InstanceService.
func (c *ControlPlane) UpdateInstance(_ context.Context, req *signalboxv1.UpdateInstanceRequest) (*signalboxv1.UpdateInstanceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.instances[req.GetName()]
	if old == nil {
		return nil, status.Errorf(codes.NotFound, "instance %q does not exist", req.GetName())
	}
	i := proto.CloneOf(old)
	if req.Alias != nil {
		i.Alias = req.GetAlias()
	}
	if req.Restart != nil {
		i.Restart = req.GetRestart()
	}
	if req.Tags != nil {
		i.Tags = req.GetTags().GetTags()
	}
	if req.Peer != nil {
		i.Peer = req.GetPeer()
	}
	if req.GetReset_() {
		i.Resets++
	}
	switch req.GetAction() {
	case signalboxv1.InstanceAction_INSTANCE_ACTION_START:
		i.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING
	case signalboxv1.InstanceAction_INSTANCE_ACTION_STOP:
		i.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
	case signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART:
		i.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING
		i.Starts++
	}
	if proto.Equal(i, old) {
		return &signalboxv1.UpdateInstanceResponse{Instance: i, Result: &signalboxv1.WriteResult{}}, nil
	}
	if i.Resets != old.Resets && i.Observed != nil {
		i.Observed.Counters = &signalboxv1.InstanceCounters{}
	}
	return &signalboxv1.UpdateInstanceResponse{Instance: c.keep(i, old), Result: c.result(req.GetWait())}, nil
}

// GetInstance implements InstanceService.
func (c *ControlPlane) GetInstance(ctx context.Context, req *signalboxv1.GetInstanceRequest) (*signalboxv1.GetInstanceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.instances[req.GetName()]
	if i == nil {
		return nil, status.Errorf(codes.NotFound, "instance %q does not exist", req.GetName())
	}
	return &signalboxv1.GetInstanceResponse{Instance: c.shown(ctx, i)}, nil
}

// shown is an instance as a caller may see it.
func (c *ControlPlane) shown(ctx context.Context, i *signalboxv1.Instance) *signalboxv1.Instance {
	i = proto.CloneOf(i)
	if md, _ := metadata.FromIncomingContext(ctx); c.keys[secretIn(md)] != admin {
		i.Url = tunnelurl.Redact(i.Url)
	}
	return i
}

// ListInstances implements InstanceService. A page token is the last name
// given out.
func (c *ControlPlane) ListInstances(ctx context.Context, req *signalboxv1.ListInstancesRequest) (*signalboxv1.ListInstancesResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := int(req.GetPageSize())
	if size == 0 {
		size = 500
	}
	res := &signalboxv1.ListInstancesResponse{Version: c.version()}
	for _, name := range slices.Sorted(maps.Keys(c.instances)) {
		if name <= req.GetPageToken() {
			continue
		}
		if len(res.Instances) == size {
			res.NextPageToken = res.Instances[size-1].Name
			break
		}
		res.Instances = append(res.Instances, c.shown(ctx, c.instances[name]))
	}
	return res, nil
}

// DeleteInstance implements InstanceService.
func (c *ControlPlane) DeleteInstance(_ context.Context, req *signalboxv1.DeleteInstanceRequest) (*signalboxv1.DeleteInstanceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.instances[req.GetName()] == nil {
		return nil, status.Errorf(codes.NotFound, "instance %q does not exist", req.GetName())
	}
	c.revision++
	delete(c.instances, req.GetName())
	c.publish(&signalboxv1.Event{
		Type: signalboxv1.EventType_EVENT_TYPE_REMOVED, Kind: signalboxv1.Kind_KIND_INSTANCE, Name: req.GetName(),
	})
	return &signalboxv1.DeleteInstanceResponse{Result: c.result(req.GetWait())}, nil
}

// FollowInstanceLogs implements InstanceService. The tail is of all lines.
func (c *ControlPlane) FollowInstanceLogs(req *signalboxv1.FollowInstanceLogsRequest, out grpc.ServerStreamingServer[signalboxv1.FollowInstanceLogsResponse]) error {
	c.mu.Lock()
	next, broken := max(0, len(c.lines)-int(req.GetTail())), c.broken
	c.listeners++
	c.wake()
	c.mu.Unlock()
	if err := out.SendHeader(nil); err != nil {
		return err
	}
	for {
		c.mu.Lock()
		lines, changed := slices.Clone(c.lines[next:]), c.changed
		next = len(c.lines)
		c.mu.Unlock()
		for _, l := range lines {
			if err := out.Send(&signalboxv1.FollowInstanceLogsResponse{Line: l}); err != nil {
				return err
			}
		}
		if err := c.wait(out.Context(), changed, broken); err != nil {
			return err
		}
	}
}

// Listeners waits until so many have asked to follow logs in all.
func (c *ControlPlane) Listeners(ctx context.Context, n int) error {
	for {
		c.mu.Lock()
		now, changed := c.listeners, c.changed
		c.mu.Unlock()
		if now >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d follow logs; expected %d", now, n)
		}
	}
}

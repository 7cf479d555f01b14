package feed

import (
	"context"
	"log/slog"

	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

func (ss *session) wake() {
	select {
	case ss.kick <- struct{}{}:
	default:
	}
}

// send says everything there is to say, from this goroutine alone.
func (ss *session) send() error {
	canFeed, members, standing := ss.Presence.Standing()
	view, changed := ss.Views.Now()
	if err := ss.welcome(view, canFeed); err != nil {
		return err
	}
	for sayMembers := true; ; {
		if sayMembers {
			if err := ss.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Members{Members: members}}); err != nil {
				return err
			}
			sayMembers = false
		}
		if err := ss.feed(view, canFeed); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ss.kick:
		case <-standing:
			canFeed, members, standing = ss.Presence.Standing()
			sayMembers = true
		case <-ss.stream.Context().Done():
			return context.Cause(ss.stream.Context())
		}
		view, changed = ss.Views.Now()
	}
}

func (ss *session) say(m *signalboxv1.ConnectResponse) error { return ss.stream.Send(m) }

func (ss *session) welcome(view *replica.View, canFeed bool) error {
	w := &signalboxv1.Welcome{
		ControlPlane:   ss.Presence.ID(),
		CanFeed:        canFeed && view != nil,
		ReportInterval: durationpb.New(ss.ReportInterval),
	}
	if view != nil {
		w.Current = wire(view.Version)
	}
	return ss.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Welcome{Welcome: w}})
}

// feed sends the node what it lacks, if it asked, has acknowledged what it was
// sent before, and this replica may feed.
func (ss *session) feed(view *replica.View, canFeed bool) error {
	ss.mu.Lock()
	feeding, have, idle := ss.feeding, ss.have, ss.inFlight == store.Version{}
	ss.mu.Unlock()
	switch {
	case !feeding:
		return nil
	case !canFeed:
		return ss.unfeed("this control plane has lost touch with the store")
	case view == nil || !idle:
		return nil
	}
	if have.Epoch == view.Version.Epoch {
		ss.vouch()
	}
	up, err := ss.lacking(view, have)
	if err != nil {
		return ss.unfeed("this control plane cannot tell what is current: " + err.Error())
	}
	if up.parts == nil || !ss.begin(have, view.Version) {
		return nil
	}
	ss.log.Debug("update sent", "rev", view.Version.Revision, "from", have.Revision, "parts", len(up.parts))
	for _, part := range up.parts {
		if err := ss.stream.SendMsg(part); err != nil {
			return err
		}
	}
	ss.Metrics.sent(up.whole)
	return nil
}

// begin notes that an update is in flight, unless the node has asked anew
// meanwhile; then there is another kick.
func (ss *session) begin(have, to store.Version) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if !ss.feeding || ss.have != have {
		return false
	}
	ss.inFlight = to
	return true
}

// vouch keeps the node's lease from the moment it is known to serve something
// of this history.
func (ss *session) vouch() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.held != 0 || !ss.feeding {
		return
	}
	ss.held = ss.Presence.Hold(ss.hello.GetNode(), &signalboxv1.NodeLease{
		Epoch:           ss.hello.GetEpoch(),
		SoftwareVersion: ss.hello.GetSoftwareVersion(),
		Labels:          ss.hello.GetLabels(),
		Listeners:       ss.hello.GetListeners(),
	})
}

// unfeed sends the node elsewhere. The stream stays.
func (ss *session) unfeed(reason string) error {
	ss.mu.Lock()
	held := ss.held
	ss.feeding, ss.held, ss.inFlight = false, 0, store.Version{}
	ss.mu.Unlock()
	ss.Presence.Release(ss.hello.GetNode(), held)
	level := slog.LevelDebug // it may go on asking, if there is nobody else
	if held != 0 {
		level = slog.LevelWarn
	}
	ss.log.Log(ss.stream.Context(), level, "node sent elsewhere to be fed", "reason", reason)
	return ss.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Unfed{Unfed: &signalboxv1.Unfed{Reason: reason}}})
}

// lacking returns what takes the node from have to the view, in parts; none if
// there is nothing to send for now.
func (ss *session) lacking(view *replica.View, have store.Version) (outgoing, error) {
	node := store.Key{Kind: store.KindNode, Name: ss.hello.GetNode()}
	switch {
	case have.Epoch != view.Version.Epoch:
		return ss.encoder.whole(view, node)
	case have.Revision == view.Version.Revision:
		return outgoing{}, nil
	case have.Revision < view.Version.Revision:
		return ss.encoder.since(view, have, node)
	}
	// Either this replica is behind, or the node comes from a history that was
	// rolled back.
	ctx, cancel := context.WithTimeout(ss.stream.Context(), headTimeout)
	defer cancel()
	head, err := ss.Head.Head(ctx)
	if err != nil {
		return outgoing{}, err
	}
	if head.Epoch == have.Epoch && head.Revision >= have.Revision {
		return outgoing{}, nil
	}
	return ss.encoder.whole(view, node)
}

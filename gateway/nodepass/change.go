package nodepass

import (
	"context"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// attempts is how often a write is tried when others write the same instance.
const attempts = 8

// actionReset is the action that only counters hear of.
const actionReset = "reset"

// changes is what a PATCH says. What is absent or null stays.
type changes struct {
	Alias   *string
	Action  string
	Restart *bool
	Meta    struct {
		Peer *peer
		Tags map[string]string
	}
}

// actionsAsked are the words for what an instance is asked to do.
var actionsAsked = map[string]signalboxv1.InstanceAction{
	"": signalboxv1.InstanceAction_INSTANCE_ACTION_UNSPECIFIED, actionReset: signalboxv1.InstanceAction_INSTANCE_ACTION_UNSPECIFIED,
	"start":   signalboxv1.InstanceAction_INSTANCE_ACTION_START,
	"stop":    signalboxv1.InstanceAction_INSTANCE_ACTION_STOP,
	"restart": signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART,
}

// patch changes some of an instance, all in one write. It answers the instance
// as it is before what it is asked to do has had an effect. A body that is none
// changes nothing, and is no error: panels depend on neither.
func (h *Handler) patch(w http.ResponseWriter, r *http.Request, id string) error {
	before, err := h.find(r.Context(), id)
	if err != nil {
		return err
	}
	var c changes
	if ok, err := h.read(w, r, &c); err != nil {
		return err
	} else if !ok {
		c = changes{}
	}
	req, err := c.request(id)
	if err != nil {
		return err
	}
	if proto.Equal(req, &signalboxv1.UpdateInstanceRequest{Name: id}) {
		answer(w, http.StatusOK, object(before))
		return nil
	}
	res, err := h.instances.UpdateInstance(r.Context(), req)
	if err != nil {
		return err
	}
	after := proto.CloneOf(res.GetInstance())
	after.Observed = before.GetObserved()
	if req.GetReset_() && after.Observed != nil {
		after.Observed.Counters = nil
	}
	answer(w, http.StatusOK, object(after))
	return nil
}

// request is what is asked of the control plane. As with NodePass, an alias can
// be given and not taken away: panels send an empty one that they do not mean.
func (c *changes) request(id string) (*signalboxv1.UpdateInstanceRequest, error) {
	asked, known := actionsAsked[c.Action]
	if !known {
		return nil, &refusal{http.StatusBadRequest, "Invalid action: " + c.Action}
	}
	req := &signalboxv1.UpdateInstanceRequest{Name: id, Restart: c.Restart, Action: asked, Reset_: c.Action == actionReset}
	if c.Alias != nil && *c.Alias != "" {
		req.Alias = c.Alias
	}
	if p := c.Meta.Peer; p != nil {
		req.Peer = &signalboxv1.InstancePeer{Sid: p.SID, Type: p.Type, Alias: p.Alias}
	}
	if c.Meta.Tags != nil {
		req.Tags = &signalboxv1.InstanceTags{Tags: c.Meta.Tags}
	}
	return req, nil
}

// put gives an instance another URL, and has it run with that.
func (h *Handler) put(w http.ResponseWriter, r *http.Request, id string) error {
	found, err := h.find(r.Context(), id)
	if err != nil {
		return err
	}
	var body struct{ URL string }
	ok, err := h.read(w, r, &body)
	if err != nil {
		return err
	}
	if !ok || body.URL == "" {
		return &refusal{http.StatusBadRequest, "Invalid request body"}
	}
	normal, err := h.normal(body.URL)
	if err != nil {
		return err
	}
	for range attempts {
		err = h.move(r.Context(), found, normal)
		if status.Code(err) != codes.Aborted {
			break
		}
		if found, err = h.find(r.Context(), id); err != nil {
			return err
		}
		err = status.Error(codes.Aborted, "others keep writing this instance; try again")
	}
	if err != nil {
		return err
	}
	moved := proto.CloneOf(found)
	moved.Url = normal
	o := object(moved)
	o.Status = stopped
	answer(w, http.StatusOK, o)
	return nil
}

// move writes an instance that was found with another URL.
func (h *Handler) move(ctx context.Context, found *signalboxv1.Instance, to string) error {
	if to == tunnelurl.Normal(found.GetUrl(), tunnelurl.Defaults{}) {
		return &refusal{http.StatusConflict, "Instance URL conflict"}
	}
	i := proto.CloneOf(found)
	i.Url, i.Wanted, i.Observed = to, signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING, nil
	_, err := h.instances.PutInstance(ctx, &signalboxv1.PutInstanceRequest{
		Instance: i, ExpectedRevision: proto.Int64(found.GetMeta().GetRevision()),
	})
	return err
}

// delete removes an instance.
func (h *Handler) delete(w http.ResponseWriter, r *http.Request, id string) error {
	if _, err := h.find(r.Context(), id); err != nil {
		return err
	}
	if _, err := h.instances.DeleteInstance(r.Context(), &signalboxv1.DeleteInstanceRequest{Name: id}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

package nodepass

import (
	"context"
	"net/http"
	"net/url"
	"regexp"

	"google.golang.org/grpc"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// Sizes of one page of instances: how many are asked for, and a bound for the
// answer in bytes, which so many that are all of the greatest size stay below.
const (
	pageSize  = 1000
	maxAnswer = 320 << 20
)

// instanceName is what a name of an instance can be. Others are not asked for:
// they may not even be text.
var instanceName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// listed is every instance at a version.
type listed struct {
	version   *signalboxv1.Version
	instances []*signalboxv1.Instance
}

// all asks for every instance.
func (h *Handler) all(ctx context.Context) (listed, error) {
	var l listed
	req := &signalboxv1.ListInstancesRequest{PageSize: pageSize}
	for {
		res, err := h.instances.ListInstances(ctx, req, grpc.MaxCallRecvMsgSize(maxAnswer))
		if err != nil {
			return listed{}, err
		}
		if l.version == nil {
			l.version = res.GetVersion()
		}
		l.instances = append(l.instances, res.GetInstances()...)
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return l, nil
		}
	}
}

// list answers all instances, the caller's key first.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, _ string) error {
	l, err := h.all(r.Context())
	if err != nil {
		return err
	}
	out := []instance{keyObject(secret(r.Header), masterID(l.version))}
	for _, i := range l.instances {
		out = append(out, object(i))
	}
	answer(w, http.StatusOK, out)
	return nil
}

// find asks for one instance.
func (h *Handler) find(ctx context.Context, id string) (*signalboxv1.Instance, error) {
	if !instanceName.MatchString(id) {
		_, err := h.look(ctx)
		if err == nil {
			err = &refusal{http.StatusNotFound, "Instance not found"}
		}
		return nil, err
	}
	res, err := h.instances.GetInstance(ctx, &signalboxv1.GetInstanceRequest{Name: id})
	return res.GetInstance(), err
}

// get answers one instance.
func (h *Handler) get(w http.ResponseWriter, r *http.Request, id string) error {
	i, err := h.find(r.Context(), id)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, object(i))
	return nil
}

// create makes an instance, which begins to run soon.
func (h *Handler) create(w http.ResponseWriter, r *http.Request, _ string) error {
	if _, err := h.look(r.Context()); err != nil { // strangers' bodies are not read
		return err
	}
	var body struct{ URL, Alias string }
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
	res, err := h.instances.PutInstance(r.Context(), &signalboxv1.PutInstanceRequest{Instance: &signalboxv1.Instance{
		Alias: body.Alias, Url: normal, Wanted: signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING,
	}})
	if err != nil {
		return err
	}
	made := object(res.GetInstance())
	made.Status = stopped
	answer(w, http.StatusCreated, made)
	return nil
}

// normal is a URL as it is kept, or why it is not.
func (h *Handler) normal(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", &refusal{http.StatusBadRequest, "Invalid URL format"}
	}
	if u.Scheme != "server" && u.Scheme != "client" { // in lower case
		return "", &refusal{http.StatusBadRequest, "Invalid URL scheme"}
	}
	s = tunnelurl.Normal(s, h.cfg.Defaults)
	if _, err := tunnelurl.Parse(s); err != nil {
		return "", &refusal{http.StatusBadRequest, "Invalid URL format: " + err.Error()}
	}
	return s, nil
}

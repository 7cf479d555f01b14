// Package sse tells what changes, as server-sent events (WHATWG HTML, section
// 9.2): EventService.FollowEvents for browsers and curl.
//
//	GET /v1/events?after=ID&kinds=route,node
//
//	id: EPOCH.REVISION.INDEX
//	event: created | updated | removed | observed | reset
//	data: {the event as JSON, on one line}
//
// An id can be given back as "after" or, as browsers do by themselves, in the
// header Last-Event-ID, which wins: what follows it is sent, and nothing is
// missed. Comment lines keep the response alive through proxies. The control
// plane's heartbeats come as an id without data, which no browser shows, but
// from which it resumes.
//
// When the control plane goes away the response goes on: the handler follows
// another, or the same once it is back, from the last id it sent. If that
// cannot be done without a loss, or takes too long, the response ends with
// "event: error" and the error as data, and whoever follows comes back with
// the last id it saw.
package sse

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"signalbox/gateway/apierror"
	"signalbox/gateway/credential"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Config is what a handler can be told.
type Config struct {
	// Heartbeat is how often a comment is sent. Default 15 s.
	Heartbeat time.Duration
	// Patience is how long a control plane is looked for once one was lost.
	// Default 30 s.
	Patience time.Duration
	// Log hears why responses ended that should not have. Default: nobody does.
	Log *slog.Logger
}

const (
	// writeTimeout ends responses to clients that take nothing any more.
	writeTimeout = 30 * time.Second
	// headerPatience is how long the control plane has for refusing the call
	// before the response begins.
	headerPatience = time.Second
	// comeBack is when browsers come back after the response's end.
	comeBack = time.Second
)

// Handler serves events.
type Handler struct {
	events  signalboxv1.EventServiceClient
	cfg     Config
	closing chan struct{} // closed when all responses are to end
	close   sync.Once
}

// New returns a handler over the EventService that conn reaches.
func New(conn grpc.ClientConnInterface, cfg Config) *Handler {
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{events: signalboxv1.NewEventServiceClient(conn), cfg: cfg, closing: make(chan struct{})}
}

// Close ends all responses, now and from now on, so that a server can shut
// down. Browsers come back by themselves, to whoever answers then.
func (h *Handler) Close() { h.close.Do(func() { close(h.closing) }) }

// ServeHTTP answers until the client goes away.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		apierror.Write(w, apierror.New(http.StatusMethodNotAllowed, codes.Unimplemented, "the method must be GET"))
		return
	}
	ctx, ok := credential.Outgoing(r.Context(), r.Header, "")
	if !ok {
		apierror.Write(w, status.Error(codes.Unauthenticated,
			`an API key is required, as "Authorization: Bearer KEY" or "X-API-Key: KEY"`))
		return
	}
	req, err := request(r)
	if err != nil {
		apierror.Write(w, err)
		return
	}
	f := Follow(ctx, h.events, req, h.cfg.Patience)
	defer f.Stop()
	out := &response{w: w, rc: http.NewResponseController(w)}
	defer out.release()
	h.copy(out, f, r)
}

// copy writes what is followed until either end goes away.
func (h *Handler) copy(out *response, f *Follower, r *http.Request) {
	beat := time.NewTicker(h.cfg.Heartbeat)
	defer beat.Stop()
	late := time.NewTimer(headerPatience)
	defer late.Stop()
	for out.err == nil {
		select {
		case e := <-f.Events:
			out.event(e)
		case <-f.Opened:
			f.Opened = nil
			out.open()
		case <-late.C:
			out.open()
		case <-beat.C:
			out.comment()
		case <-f.Done:
			if r.Context().Err() == nil && apierror.Ours(f.Err) {
				h.cfg.Log.Warn("events not served", "err", f.Err)
			}
			out.fail(f.Err)
			return
		case <-h.closing:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// request reads what a client asks for.
func request(r *http.Request) (*signalboxv1.FollowEventsRequest, error) {
	query := r.URL.Query()
	req := &signalboxv1.FollowEventsRequest{After: query.Get("after")}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		req.After = id
	}
	var wrong []apierror.Violation
	for key, values := range query {
		if key != "after" && key != "kinds" {
			wrong = append(wrong, apierror.Violation{Field: strings.ToValidUTF8(key, "\uFFFD"), Reason: "is not a parameter of this call"})
		} else if key == "after" && len(values) > 1 {
			wrong = append(wrong, apierror.Violation{Field: key, Reason: "is given twice"})
		}
	}
	for name := range strings.SplitSeq(strings.Join(query["kinds"], ","), ",") {
		if name == "" {
			continue
		}
		kind, ok := signalboxv1.Kind_value["KIND_"+strings.TrimPrefix(strings.ToUpper(name), "KIND_")]
		if !ok || kind == 0 {
			wrong = append(wrong, apierror.Violation{Field: "kinds", Reason: "must be of " + kinds()})
			break
		}
		req.Kinds = append(req.Kinds, signalboxv1.Kind(kind))
	}
	if strings.ToValidUTF8(req.After, "") != req.After {
		wrong = append(wrong, apierror.Violation{Field: "after", Reason: "must be the id of an event"})
	}
	if wrong != nil {
		slices.SortFunc(wrong, func(a, b apierror.Violation) int { return strings.Compare(a.Field, b.Field) })
		return nil, apierror.Invalid(wrong...)
	}
	return req, nil
}

// kinds lists the kinds' short names.
func kinds() string {
	values := signalboxv1.Kind(0).Descriptor().Values()
	var all []string
	for i := 1; i < values.Len(); i++ {
		all = append(all, strings.ToLower(strings.TrimPrefix(string(values.Get(i).Name()), "KIND_")))
	}
	return strings.Join(all, ", ")
}

// response writes one response. The first error ends it.
type response struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	started bool // the header is out
	err     error
}

// open sends the header, at once, so that clients know that they follow.
func (o *response) open() {
	if o.started {
		return
	}
	o.started = true
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx is not to gather it
	o.w.WriteHeader(http.StatusOK)
	o.write("retry: %d\n\n", comeBack.Milliseconds())
}

// event sends one event.
func (o *response) event(e *signalboxv1.Event) {
	o.open()
	id := strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(e.GetId())
	if e.GetType() == signalboxv1.EventType_EVENT_TYPE_HEARTBEAT {
		o.write("id: %s\n\n", id)
		return
	}
	data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(e)
	if err != nil {
		o.fail(status.Error(codes.Internal, "an event cannot be written as JSON: "+err.Error()))
		return
	}
	name := strings.ToLower(strings.TrimPrefix(e.GetType().String(), "EVENT_TYPE_"))
	o.write("id: %s\nevent: %s\ndata: %s\n\n", id, name, data)
}

// comment keeps the response alive. Before it began there is nothing to keep.
func (o *response) comment() {
	if o.started {
		o.write(":\n\n")
	}
}

// fail ends the response: with a status if it has not begun.
func (o *response) fail(err error) {
	if !o.started {
		apierror.Write(o.w, err)
		return
	}
	o.write("event: error\ndata: %s\n\n", apierror.JSON(err))
	o.err = io.EOF
}

// write writes and flushes.
func (o *response) write(format string, args ...any) {
	if o.err != nil {
		return
	}
	_ = o.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // writers without deadlines have none to miss
	if _, o.err = fmt.Fprintf(o.w, format, args...); o.err == nil {
		o.err = o.rc.Flush()
	}
}

// release takes the deadline from the connection, which others may use next.
func (o *response) release() { _ = o.rc.SetWriteDeadline(time.Time{}) }

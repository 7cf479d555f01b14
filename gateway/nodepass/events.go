package nodepass

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"sync"
	"time"

	"signalbox/gateway/apierror"
	"signalbox/gateway/sse"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	// comeBack is what each stream begins with: when browsers come back.
	comeBack = "retry: 3000\n\n"
	// writeTimeout ends streams to clients that take nothing any more.
	writeTimeout = 30 * time.Second
	// maxEvent bounds one event, in bytes: Dash's reader ends at 64 KiB.
	maxEvent = 60 << 10
)

// eventID is an id that may be one of ours. Others are not asked after.
var eventID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,3})$`)

// follow tells what happens, until either end goes away. A stream always begins
// with all instances, the caller's key first; whoever comes back by an id is
// then told of removals since, too.
func (h *Handler) follow(w http.ResponseWriter, r *http.Request, _ string) error {
	ctx, cancel := context.WithCancel(r.Context())
	req := &signalboxv1.FollowEventsRequest{Kinds: []signalboxv1.Kind{signalboxv1.Kind_KIND_INSTANCE}}
	if id := r.Header.Get("Last-Event-ID"); eventID.MatchString(id) {
		req.After = id
	}
	f := sse.Follow(ctx, h.events, req, h.cfg.patience)
	var parts sync.WaitGroup
	defer func() {
		cancel()
		parts.Wait()
		f.Stop()
	}()
	m := newMirror(keyObject(secret(r.Header), ""))
	if err := h.begin(ctx, f, m); err != nil {
		return err
	}
	ended := make(chan error, 1)
	parts.Go(func() { ended <- h.gather(ctx, f, m) })
	parts.Go(func() { h.listen(ctx, m) })
	out := &stream{w: w, rc: http.NewResponseController(w)}
	out.open(r.ProtoMajor)
	if err := h.copy(ctx, out, m, ended); err != nil && ctx.Err() == nil && apierror.Ours(err) {
		h.cfg.Log.Warn("events not served", "err", err, "addr", r.RemoteAddr)
	}
	return nil
}

// copy writes what a mirror has to tell, until either end goes away, and
// returns what was wrong with the control plane's.
func (h *Handler) copy(ctx context.Context, out *stream, m *mirror, ended <-chan error) error {
	for out.err == nil {
		select {
		case <-m.wake:
			if events, id := m.take(time.Now()); len(events) > 0 {
				out.tell(events, id)
			}
		case err := <-ended:
			return err
		case <-h.closing:
			if h.cfg.EndsForGood {
				out.tell([]event{{Type: typeShutdown, Time: time.Now()}}, "")
			}
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// A stream writes one response. The first error ends it.
type stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool // comeBack was written
	err   error
}

// open sets the header, which leaves with the first event.
func (s *stream) open(protocol int) {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx is not to gather it
	if protocol == 1 {
		h.Set("Connection", "keep-alive") // as NodePass
	}
}

// tell writes events, each at once, and the id to come back by with the last.
func (s *stream) tell(events []event, id string) {
	for n, e := range events {
		var b bytes.Buffer
		if !s.begun {
			b.WriteString(comeBack)
			s.begun = true
		}
		b.WriteString("event: instance\ndata: ")
		b.Write(fitted(e))
		b.WriteByte('\n')
		if n == len(events)-1 && id != "" {
			// Behind the data, so that what is before is as NodePass writes it.
			b.WriteString("id: " + id + "\n")
		}
		b.WriteByte('\n')
		s.write(b.Bytes())
	}
}

// write writes and flushes. The deadline is for this write alone: there may be
// nothing to say for long.
func (s *stream) write(b []byte) {
	if s.err != nil {
		return
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // writers without deadlines have none to miss
	if _, s.err = s.w.Write(b); s.err == nil {
		s.err = s.rc.Flush()
	}
	_ = s.rc.SetWriteDeadline(time.Time{})
}

// fitted is an event as JSON that clients can take: of one that is too long the
// line is cut, and then what panels can do without is left out.
func fitted(e event) []byte {
	b := encode(e)
	if len(b) <= maxEvent {
		return b
	}
	if e.Logs = cut(e.Logs, 1024); e.Instance != nil {
		short := *e.Instance
		short.Meta.Tags = map[string]string{}
		short.Config = ""
		e.Instance = &short
	}
	return encode(e)
}

func encode(e event) []byte {
	b, err := json.Marshal(e)
	if err != nil { // texts, numbers and a time of ours: it cannot fail
		return []byte("{}")
	}
	return b
}

package rest

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"signalbox/gateway/apierror"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// logsPath is where an instance's log is followed. The generated handler waits
// for the first line before it answers, and ends with the server's own deadline.
const logsPath = "/v1/instances/{name}/logs"

// lineTimeout ends a response to a client that takes nothing any more.
const lineTimeout = 30 * time.Second

// logs answers with one JSON object a line until either end goes away: as the
// generated handlers do, a "result" each, and an "error" at the end if there is
// one.
func (a *API) logs(w http.ResponseWriter, r *http.Request, params map[string]string) {
	req := &signalboxv1.FollowInstanceLogsRequest{Name: params["name"]}
	in := inputOf(r.Context())
	if err := readQuery(req, in.query); err != nil {
		apierror.Write(w, err)
		return
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(r.Context(), in.md))
	defer cancel()
	defer context.AfterFunc(a.open, cancel)() //nolint:contextcheck // whichever is over first
	stream, err := a.follow(ctx, cancel, req)
	if err != nil {
		if apierror.Ours(err) && r.Context().Err() == nil {
			a.cfg.Log.Warn("logs not served", "err", err)
		}
		apierror.Write(w, err)
		return
	}
	out := lines{w: w, rc: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no") // nginx is not to gather it
	w.WriteHeader(http.StatusOK)
	if in.head || !out.write(nil) {
		return
	}
	defer func() { _ = out.rc.SetWriteDeadline(time.Time{}) }() // it was set, so it can be
	json := newJSON()
	for {
		res, err := stream.Recv()
		if err != nil {
			if ctx.Err() == nil {
				out.write(append(apierror.JSON(err), '\n'))
			}
			return
		}
		line, err := json.Marshal(map[string]any{"result": res})
		if err != nil || !out.write(line) {
			return
		}
	}
}

// follow makes the call, and waits until the control plane has taken it.
func (a *API) follow(ctx context.Context, cancel context.CancelFunc, req *signalboxv1.FollowInstanceLogsRequest) (grpc.ServerStreamingClient[signalboxv1.FollowInstanceLogsResponse], error) {
	late := time.AfterFunc(prompt, cancel)
	stream, err := a.instances.FollowInstanceLogs(ctx, req)
	var taken metadata.MD
	if err == nil {
		taken, err = stream.Header()
	}
	if err == nil && taken == nil { // it was refused
		_, err = stream.Recv()
	}
	switch {
	case !late.Stop():
		return nil, apierror.Late(err)
	case err == nil && taken == nil:
		return nil, status.Error(codes.Internal, "a log ended without a word")
	}
	return stream, err
}

// lines writes and flushes lines.
type lines struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// write reports whether the client takes them.
func (l lines) write(line []byte) bool {
	_ = l.rc.SetWriteDeadline(time.Now().Add(lineTimeout)) // writers without deadlines have none to miss
	if _, err := l.w.Write(line); err != nil {
		return false
	}
	return l.rc.Flush() == nil
}

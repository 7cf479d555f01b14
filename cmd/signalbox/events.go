package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func newEvents() *cobra.Command {
	var (
		c     client
		after string
		kinds []string
	)
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Follow what changes, until interrupted",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request := &signalboxv1.FollowEventsRequest{After: after}
			for _, k := range kinds {
				kind, ok := signalboxv1.Kind_value["KIND_"+strings.ToUpper(k)]
				if !ok || kind == 0 {
					return &usageError{fmt.Errorf("--kind %q must be route, listener, instance, node or api_key", k)}
				}
				request.Kinds = append(request.Kinds, signalboxv1.Kind(kind))
			}
			return c.stream(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return c.follow(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), signalboxv1.NewEventServiceClient(conn), request)
			})
		},
	}
	cmd.Flags().StringVar(&after, "after", "", "id of the last event seen; from now on if not given")
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "only of this kind: route, listener, instance, node or api_key; may be repeated")
	c.addStream(cmd.Flags())
	return cmd
}

// followAgain is how often a stream that broke is begun anew.
const followAgain = time.Second

// follow prints events until ctx ends. A stream that breaks once it stood is
// begun anew after the last event, at whatever control plane answers then, and
// aside is told.
func (c *client) follow(ctx context.Context, out, aside io.Writer, api signalboxv1.EventServiceClient, request *signalboxv1.FollowEventsRequest) error {
	for stood, told := false, false; ; {
		stands := false
		err := c.followOnce(ctx, out, api, request, &stands)
		if stood, told = stood || stands, told && !stands; !stood || ctx.Err() != nil || status.Code(err) != codes.Unavailable {
			return err
		}
		if !told {
			_, _ = fmt.Fprintln(aside, "signalbox: the control plane is gone; following on where another answers")
			told = true
		}
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// followOnce prints events of one stream, one line each. request is told the
// last of them, and stands that there was any.
func (c *client) followOnce(ctx context.Context, out io.Writer, api signalboxv1.EventServiceClient, request *signalboxv1.FollowEventsRequest, stands *bool) error {
	events, err := api.FollowEvents(ctx, request)
	if err != nil {
		return err
	}
	for {
		answer, err := events.Recv()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return status.Error(codes.Unavailable, "the control plane ended the stream")
		case err != nil:
			return err
		}
		e := answer.GetEvent()
		request.After, *stands = e.GetId(), true
		if e.GetType() == signalboxv1.EventType_EVENT_TYPE_HEARTBEAT {
			continue
		}
		if c.output != "table" {
			if err := c.print(out, e, nil); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintln(out, eventLine(e)); err != nil {
			return err
		}
	}
}

// eventLine is an event for people: its id can be given to --after.
func eventLine(e *signalboxv1.Event) string {
	word := strings.ToLower(strings.TrimPrefix(e.GetType().String(), "EVENT_TYPE_"))
	if e.GetType() == signalboxv1.EventType_EVENT_TYPE_RESET {
		return e.GetId() + "  reset: earlier changes can no longer be told; list again"
	}
	line := fmt.Sprintf("%s  %s %s %q", e.GetId(), strings.ToLower(strings.TrimPrefix(e.GetKind().String(), "KIND_")), word, e.GetName())
	if o := e.GetNode().GetObserved(); o != nil {
		line += fmt.Sprintf(" %s, ready %t, serving %d", nodeState(o), o.GetReady(), o.GetServing().GetRevision())
	}
	if o := e.GetInstance().GetObserved(); o != nil {
		line += " " + instanceState(o.GetState())
		if o.GetReason() != "" {
			line += ": " + o.GetReason()
		}
	}
	return line
}

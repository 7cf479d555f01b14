package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func newInstanceLogs() *cobra.Command {
	var (
		c       client
		request signalboxv1.FollowInstanceLogsRequest
	)
	cmd := &cobra.Command{
		Use:   "logs [NAME]",
		Short: "Show what an instance logs, or all do, until interrupted",
		Args:  atMostOne("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				request.Name = args[0]
			}
			if request.GetTail() < 0 {
				return &usageError{fmt.Errorf("--tail %d must not be less than 0", request.GetTail())}
			}
			return c.stream(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return c.logs(ctx, cmd.OutOrStdout(), signalboxv1.NewInstanceServiceClient(conn), &request)
			})
		},
	}
	cmd.Flags().Int32Var(&request.Tail, "tail", 100, "how many lines of each instance to begin with, at most 500")
	c.addStream(cmd.Flags())
	return cmd
}

// logs prints lines until ctx ends, or the control plane ends the stream.
func (c *client) logs(ctx context.Context, out io.Writer, api signalboxv1.InstanceServiceClient, request *signalboxv1.FollowInstanceLogsRequest) error {
	lines, err := api.FollowInstanceLogs(ctx, request)
	if err != nil {
		return err
	}
	for {
		next, err := lines.Recv()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return status.Error(codes.Unavailable, "the control plane ended the stream")
		case err != nil:
			return err
		}
		err = c.print(out, next, func(w io.Writer) { _, _ = io.WriteString(w, logLine(next)) })
		if err != nil {
			return err
		}
	}
}

// logLine is a line for people, and what is missing before it.
func logLine(r *signalboxv1.FollowInstanceLogsResponse) string {
	l, gap := r.GetLine(), ""
	if n := r.GetMissed(); n > 0 {
		gap = fmt.Sprintf("(%d lines were left out here: they came faster than they were taken)\n", n)
	}
	return fmt.Sprintf("%s%s %s %s %-5s %s\n", gap, l.GetTime().AsTime().Format(time.RFC3339), l.GetNode(), l.GetInstance(), lineLevels[l.GetLevel()], l.GetText())
}

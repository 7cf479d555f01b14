package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/logs"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A nodepassMaster is what `signalbox nodepass` does beside its parts, over
// their API: it has a key for panels, starts what is to be started with it, and
// shows what instances log.
type nodepassMaster struct {
	conn grpc.ClientConnInterface
	key  string // of an admin
	log  *nodepassLog
}

// prepare makes the key of the API and starts instances, before anything is
// served.
func (m *nodepassMaster) prepare(ctx context.Context, newKey bool) error {
	ctx = m.as(ctx)
	if err := m.prepareKey(ctx, newKey); err != nil {
		return fmt.Errorf("the key of the API: %w", err)
	}
	if err := m.start(ctx); err != nil {
		return fmt.Errorf("start instances with the restart policy: %w", err)
	}
	return nil
}

// as is a context for calls in the admin's name.
func (m *nodepassMaster) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+m.key)
}

// prepareKey makes the key of the API where there is none, and prints it,
// whatever the log's level: it can never be asked for again.
func (m *nodepassMaster) prepareKey(ctx context.Context, anew bool) error {
	keys := signalboxv1.NewApiKeyServiceClient(m.conn)
	if anew {
		_, err := keys.DeleteApiKey(ctx, &signalboxv1.DeleteApiKeyRequest{Name: nodepassName})
		if err != nil && status.Code(err) != codes.NotFound {
			return err
		}
	}
	made, err := keys.CreateApiKey(ctx, &signalboxv1.CreateApiKeyRequest{
		Key: &signalboxv1.ApiKey{Name: nodepassName, Scopes: []string{"instances:write", "events:read"}},
	})
	switch {
	case status.Code(err) == codes.AlreadyExists:
		m.log.say(slog.LevelInfo, "API Key loaded")
		return nil
	case err != nil:
		return err
	}
	m.log.write(time.Now(), slog.LevelInfo, "API Key created: "+made.GetSecret())
	return nil
}

// start starts the stopped instances that are to be started with a master.
// Those that ran do so without.
func (m *nodepassMaster) start(ctx context.Context) error {
	api := signalboxv1.NewInstanceServiceClient(m.conn)
	all, err := allInstances(ctx, api)
	if err != nil {
		return err
	}
	for _, i := range all.GetInstances() {
		if !i.GetRestart() || i.GetWanted() != signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED {
			continue
		}
		_, err := api.UpdateInstance(ctx, &signalboxv1.UpdateInstanceRequest{
			Name: i.GetName(), Action: signalboxv1.InstanceAction_INSTANCE_ACTION_START,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", i.GetName(), err)
		}
		m.log.say(slog.LevelInfo, "Auto-starting instance: %s", i.GetName())
	}
	return nil
}

// tellLines shows what instances log, until ctx ends. It asks for all that is
// kept, so that nothing is left out between two streams; the one node there is
// counts its lines, so that nothing is shown twice.
func (m *nodepassMaster) tellLines(ctx context.Context) {
	ctx = m.as(ctx)
	told := int64(0) // the place of the last line
	for ctx.Err() == nil {
		lines, err := signalboxv1.NewInstanceServiceClient(m.conn).FollowInstanceLogs(ctx, &signalboxv1.FollowInstanceLogsRequest{Tail: logs.MaxLines})
		for err == nil {
			var next *signalboxv1.FollowInstanceLogsResponse
			if next, err = lines.Recv(); err != nil {
				break
			}
			if n := next.GetMissed(); n > 0 {
				m.log.say(slog.LevelWarn, "%d lines of instances were left out here: they came faster than they were taken", n)
			}
			if place := next.GetLine().GetPlace(); place > told {
				told = place
			} else if place != 0 {
				continue
			}
			m.log.told(next.GetLine(), " ["+next.GetLine().GetInstance()+"]")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

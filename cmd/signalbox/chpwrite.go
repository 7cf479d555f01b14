package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A chpWriter writes records over a connection with a key.
type chpWriter struct {
	conn grpc.ClientConnInterface
	key  string
}

func (w *chpWriter) with(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+w.key)
}

// target writes the default target, unless there is a route for everything, and
// returns where that leads.
func (w *chpWriter) target(ctx context.Context, url string) (string, error) {
	routes := signalboxv1.NewRouteServiceClient(w.conn)
	_, err := routes.PutRoute(w.with(ctx), &signalboxv1.PutRouteRequest{
		Route:            &signalboxv1.Route{Name: "chp", Match: &signalboxv1.Match{PathPrefix: "/"}, Upstreams: []*signalboxv1.Upstream{{Url: url}}},
		ExpectedRevision: proto.Int64(0),
	})
	if code := status.Code(err); code != codes.AlreadyExists && code != codes.Aborted {
		return url, err
	}
	kept, err := routes.ListRoutes(w.with(ctx), &signalboxv1.ListRoutesRequest{PageSize: 1, Match: &signalboxv1.Match{PathPrefix: "/"}})
	if err != nil || len(kept.GetRoutes()) == 0 || len(kept.GetRoutes()[0].GetRoute().GetUpstreams()) == 0 {
		return "", err
	}
	return kept.GetRoutes()[0].GetRoute().GetUpstreams()[0].GetUrl(), nil
}

// watchPages writes the public listener again whenever the files in
// --error-path are others than when the directory had a stamp, until ctx ends.
func (c *chpFlags) watchPages(ctx context.Context, last string, w *chpWriter, log *chpLog) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := dirStamp(c.errorPath)
		if now == last {
			continue
		}
		last = now
		all, err := c.listeners()
		if err == nil {
			err = w.listeners(ctx, all[:1])
		}
		if err != nil && ctx.Err() == nil {
			log.warn("Error pages stay as they were: %s", describe(err))
		}
	}
}

// dirStamp changes when a page in a directory does.
func dirStamp(dir string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.html"))
	all := strings.Builder{}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			fmt.Fprintln(&all, file, info.ModTime().UnixNano(), info.Size())
		}
	}
	return all.String()
}

package main

import (
	"context"
	"errors"

	"signalbox/node/tunnel"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// runTunnel runs one end of a tunnel until ctx ends, as nodepass does where its
// URL is one.
func runTunnel(ctx context.Context, url string, log *nodepassLog) error {
	s := tunnel.New(tunnel.Config{
		Lines: func(l *signalboxv1.LogLine) { log.told(l, "") },
		Log:   log.parts(),
	})
	s.Apply([]tunnel.Wanted{{Name: "tunnel", URL: url, Starts: 1, Incarnation: 1}})
	if err := s.Run(ctx); !errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return nil
}

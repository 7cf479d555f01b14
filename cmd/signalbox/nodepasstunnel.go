package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"signalbox/node/tunnel"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// nodepassVariables is what nodepass's own environment variables say of tunnels.
// As nodepass does, it goes on without those that cannot be read.
func nodepassVariables(log *nodepassLog) (c tunnel.Config) {
	for name, to := range map[string]*time.Duration{
		"NP_SERVICE_COOLDOWN":  &c.Retry,
		"NP_POOL_GET_TIMEOUT":  &c.Patience,
		"NP_UDP_READ_TIMEOUT":  &c.UDPIdle,
		"NP_HANDSHAKE_TIMEOUT": &c.Introduction,
	} {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			log.say(slog.LevelWarn, "%s %q is not used: it must be a time as 3s or 500ms", name, value)
			continue
		}
		*to = d
	}
	return c
}

// runTunnel runs one end of a tunnel until ctx ends, as nodepass does where its
// URL is one.
func runTunnel(ctx context.Context, url string, c tunnel.Config, log *nodepassLog) error {
	c.Lines = func(l *signalboxv1.LogLine) { log.told(l, "") }
	s := tunnel.New(c)
	s.Apply([]tunnel.Wanted{{Name: "tunnel", URL: url, Starts: 1, Incarnation: 1}})
	if err := s.Run(ctx); !errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return nil
}

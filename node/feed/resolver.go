package feed

import (
	"context"
	"net"
	"slices"
	"time"
)

// A resolution is what became of looking up a seed.
type resolution struct {
	seed  string
	addrs []string // "ip:port", sorted
	err   error
}

// resolve looks up the seeds at once, then every so often and whenever kick
// has an element, and posts what it found until ctx ends.
func resolve(ctx context.Context, c *Config, kick <-chan struct{}, post chan<- resolution) {
	ticker := time.NewTicker(c.timing.resolve)
	defer ticker.Stop()
	for {
		for _, seed := range c.Seeds {
			r := lookUp(ctx, c, seed)
			select {
			case post <- r:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-ticker.C:
		case <-kick:
		case <-ctx.Done():
			return
		}
	}
}

// lookUp finds the addresses behind a seed. New has checked its form.
func lookUp(ctx context.Context, c *Config, seed string) resolution {
	host, port, err := net.SplitHostPort(seed)
	if err != nil {
		return resolution{seed: seed, err: err}
	}
	if net.ParseIP(host) != nil {
		return resolution{seed: seed, addrs: []string{seed}}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timing.connect)
	defer cancel()
	hosts, err := c.Resolve(ctx, host)
	if err != nil {
		return resolution{seed: seed, err: err}
	}
	addrs := make([]string, len(hosts))
	for i, h := range hosts {
		addrs[i] = net.JoinHostPort(h, port)
	}
	slices.Sort(addrs)
	return resolution{seed: seed, addrs: slices.Compact(addrs)}
}

//go:build e2e

package faults

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// clocksOff runs one part of each kind that has a clock to go by with one that
// is minutes off.
func clocksOff() scenario {
	return scenario{
		name:  "clocks that are five minutes off",
		needs: func(*lab) string { _, why := skewed(); return why },
		do: func(ctx context.Context, r *run) {
			program, _ := skewed()
			off := map[string]string{"etcd3": "300", "cp1": "300", "node2": "-300"}
			for _, name := range []string{"etcd3", "cp1", "node2"} {
				r.restart(ctx, r.named(name), release{program: program, env: []string{"SIGNALBOX_SKEW_SECONDS=" + off[name]}})
			}
			pause(ctx, long)
			for name := range off {
				r.restart(ctx, r.named(name), release{})
			}
		},
	}
}

// clocksAndCertificates has nodes renew certificates that live for seconds,
// while their clocks and those of control planes differ by ten minutes either
// way. Each is renewed by what was renewed before.
func clocksAndCertificates() scenario {
	const life, renewals = 15 * time.Second, 2 // the least that control planes take, and where two thirds are over
	return scenario{
		name:  "certificates are renewed while clocks are skewed",
		needs: func(*lab) string { _, why := skewed(); return why },
		do: func(ctx context.Context, r *run) {
			program, _ := skewed()
			off := map[string]string{"cp1": "300", "cp2": "300", "node2": "-300", "node3": "900"}
			nodes := []*part{r.named("node2"), r.named("node3")}
			as := func(p *part) release {
				env := []string{"SIGNALBOX_SKEW_SECONDS=" + off[p.name]}
				if p.kind == node {
					return release{program, append(env, "SIGNALBOX_IDENTITY_DIR="+r.state(p)+"-short")}
				}
				return release{program, append(env, "SIGNALBOX_NODE_CERT_LIFE="+life.String())}
			}
			for _, p := range r.of(plane) {
				r.restart(ctx, p, as(p))
			}
			before := map[*part]string{}
			for _, p := range nodes {
				r.signal(r, p, syscall.SIGTERM)
				before[p] = r.driver.log(p)
			}
			for _, p := range nodes {
				r.start(r, p, as(p))
			}
			r.whole(ctx, r)
			for _, p := range nodes {
				r.renews(ctx, p, len(before[p]), 1+renewals)
			}
			r.whole(ctx, r)
			for _, p := range nodes {
				r.signal(r, p, syscall.SIGTERM)
				for _, refusal := range []string{"certificate is refused", "no new certificate yet", "control plane refuses this node", "certificate cannot be used"} {
					if n := strings.Count(r.driver.log(p)[len(before[p]):], refusal); n > 0 {
						r.Errorf("%s says %d times %q", p.name, n, refusal)
					}
				}
				r.start(r, p, release{})
			}
			for _, p := range r.of(plane) {
				r.restart(ctx, p, release{})
			}
		},
	}
}

// renews waits until a node has got so many certificates, by what it has logged
// after an offset.
func (r *run) renews(ctx context.Context, p *part, from, times int) {
	r.Helper()
	eventually(ctx, r, p.name+" renews its certificate", func(ctx context.Context) error {
		n := strings.Count(r.driver.log(p)[from:], "certificate issued")
		if n >= times {
			return nil
		}
		pause(ctx, hold/4)
		return fmt.Errorf("it has got %d of %d", n, times)
	})
}

//go:build e2e

// A control plane or a node whose clock is wrong decides nothing by it: what is
// written is served, who is live is waited for, and what was carried adds up.

package e2e

import (
	"os"
	"testing"
)

func TestClocksThatAreOffDecideNothing(t *testing.T) {
	skewed := os.Getenv("SIGNALBOX_E2E_SKEWED")
	if skewed == "" {
		t.Skip("SKIPPED: SIGNALBOX_E2E_SKEWED names no program of scripts/skewed")
	}
	for name, off := range map[string]struct{ plane, node string }{
		"an hour ahead, an hour behind": {"3600", "-3600"},
		"a day behind, a day ahead":     {"-86400", "86400"},
		"ten years ahead, one behind":   {"315360000", "-31536000"},
	} {
		t.Run(name, func(t *testing.T) {
			c := emptyCluster(t)
			c.startEtcd(1)
			right, wrong := c.addPlane(), c.addPlane()
			wrong.path, wrong.env = skewed, append(wrong.env, "SIGNALBOX_SKEW_SECONDS="+off.plane)
			right.start()
			wrong.start()
			c.complete(1)
			n := c.addNode(true)
			n.path, n.env = skewed, append(n.env, "SIGNALBOX_SKEW_SECONDS="+off.node)
			n.start()
			c.awaitNode(n)
			c.awaitLive()
			to, count := newUpstream(t, "up"), counters()
			c.converge("first", to)
			c.services(1).put(t, route("count", "/count", to.url))
			carry := func() {
				t.Helper()
				for _, n := range c.nodes {
					c.carry(n, "/count", 50, count)
				}
			}
			carry()
			c.totals("count", count)

			// Each of the two feeds all nodes for a while, alone.
			for i, p := range []*planeProcess{right, wrong} {
				p.kill()
				carry()
				c.services(1-i).put(t, route("alone", "/"+p.id, to.url))
				c.served("/"+p.id, to)
				p.start()
				c.awaitPlane(p)
				c.awaitLive()
				c.totals("count", count)
			}
			c.checkpointed("count", count.GetRequests())
			n.kill()
			n.start()
			c.converge("second", to)
			carry()
			c.totals("count", count)

			// A clock that is set back makes no process the older one.
			n.kill()
			n.env[len(n.env)-1] = "SIGNALBOX_SKEW_SECONDS=-320000000"
			n.start()
			c.converge("third", to)
			carry()
			c.totals("count", count)
		})
	}
}

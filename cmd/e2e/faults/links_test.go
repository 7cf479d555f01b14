//go:build e2e

package faults

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Links are the networks between parts, and what is wrong with them: rules in
// the network namespaces of parts, which are the same for containers and
// processes, and proxies here.
type links struct {
	lab *lab

	mu      sync.Mutex
	undo    []func() // newest last
	proxies int
}

// mendAll takes back everything.
func (k *links) mendAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.undo) > 0 {
		last := len(k.undo) - 1
		k.undo[last]()
		k.undo = k.undo[:last]
	}
}

// rule adds a rule to a part's own firewall, until mendAll. It is in force for
// connections that are open, too.
func (k *links) rule(t testing.TB, p *part, rule string) {
	t.Helper()
	pid, err := k.lab.driver.pid(p)
	if err == nil {
		err = firewall(pid, "-A "+rule)
	}
	if err != nil {
		t.Fatalf("the network of %s: %v", p.name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.undo = append(k.undo, func() { _ = firewall(pid, "-D "+rule) }) // a part that was started anew has none
}

// firewall changes the rules of a process's network namespace.
func firewall(pid int, rule string) error {
	args := append([]string{"--net=/proc/" + strconv.Itoa(pid) + "/ns/net", "iptables", "-w"}, strings.Fields(rule)...)
	if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("iptables %s: %w: %s", rule, err, bytes.TrimSpace(out))
	}
	return nil
}

// cut lets nothing through between two parts.
func (k *links) cut(t testing.TB, a, b *part) {
	t.Helper()
	k.mute(t, a, b)
	k.mute(t, b, a)
}

// mute lets nothing through that one part sends another.
func (k *links) mute(t testing.TB, from, to *part) {
	t.Helper()
	for _, addr := range to.addrs() {
		k.rule(t, from, "OUTPUT -d "+addr+" -j DROP")
	}
}

// lose drops a share of all packets between two parts, both ways.
func (k *links) lose(t testing.TB, a, b *part, share float64) {
	t.Helper()
	random := fmt.Sprintf(" -m statistic --mode random --probability %.2f -j DROP", share)
	for _, addr := range b.addrs() {
		k.rule(t, a, "OUTPUT -d "+addr+random)
		k.rule(t, a, "INPUT -s "+addr+random)
	}
}

// slow leads what a part connects to at a port of another through a proxy that
// holds everything back for a while, in both directions. Connections that are
// open are broken, so that they are made anew.
func (k *links) slow(t testing.TB, from, to *part, port string, latency, jitter int) {
	t.Helper()
	for _, addr := range to.addrs() {
		at := k.proxy(t, net.JoinHostPort(addr, port), latency, jitter)
		match := fmt.Sprintf("OUTPUT -p tcp -d %s --dport %s", addr, port)
		k.rule(t, from, match+" -t nat -j DNAT --to-destination "+at)
		k.rule(t, from, match+" -j REJECT --reject-with tcp-reset")
	}
}

// proxy starts a proxy of toxiproxy's to an address, until mendAll.
func (k *links) proxy(t testing.TB, to string, latency, jitter int) string {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	k.mu.Lock()
	k.proxies++
	p := toxiproxy.NewProxy(server, fmt.Sprint("slow", k.proxies), k.lab.host+":0", to)
	k.undo = append(k.undo, p.Stop)
	k.mu.Unlock()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"type":"latency","name":%q,"stream":%q,"attributes":{"latency":%d,"jitter":%d}}`, stream, stream, latency, jitter)
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
	return p.Listen
}

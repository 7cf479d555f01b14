package main

import (
	"errors"
	"time"

	"signalbox/bench/meter"
	"signalbox/bench/program"
)

// The groups: within one, all do the same work.
const (
	one    = "one process"
	chain  = "a chain of two"
	sealed = "an encrypted chain"
)

// groups are all, in order.
var groups = []string{one, chain, sealed}

// The peers' names in every group.
const (
	haproxyName = "HAProxy"
	socatName   = "socat"
)

// A way is how users reach a target: what is measured.
type way struct {
	name, group string
	ours        bool
	addr        string // where users come in
	target      string
	// processes are those whose use is counted. None: users are at the target.
	processes []*program.Program
	// forks is whether processes have children that come and go.
	forks bool
	// udp is whether it carries datagrams, too.
	udp bool

	flows  map[string][]measured // by flow.name, one a round
	visits []measured
	echoes map[int][]measured // by size
	offers map[int][]counted
	idle   *idled // nil where it was not measured
	broken bool   // and not to be measured any more
	// failed is the last of the visits that did, of how many.
	failed  string
	failing int64
}

// A measured is how many there were of something, at what cost.
type measured struct {
	Count     float64
	CPU, Took time.Duration
}

// rate is how many a second; each the CPU seconds for one; busy how much of
// their core the processes used.
func (m measured) rate() float64 { return m.Count / m.Took.Seconds() }
func (m measured) each() float64 { return m.CPU.Seconds() / m.Count }
func (m measured) busy() float64 { return m.CPU.Seconds() / m.Took.Seconds() }

// full is the name of a way among all.
func (w *way) full() string { return w.name + " (" + w.group + ")" }

// resident is the memory of its processes, in bytes.
func (w *way) resident() (sum int64, err error) {
	for _, p := range w.processes {
		n, failed := meter.Resident(p.Pid())
		sum, err = sum+n, errors.Join(err, failed)
	}
	return sum, err
}

// pids are those of its processes.
func (w *way) pids() (all []int) {
	for _, p := range w.processes {
		all = append(all, p.Pid())
	}
	return all
}

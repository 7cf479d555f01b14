package main

import (
	"errors"
	"maps"
	"slices"
	"time"

	"signalbox/bench/meter"
)

// metered has something counted, and measures what Pids use meanwhile: here,
// and not in the process that gives the orders, so that both are of the same
// moments. used reads the CPU time of every process.
func (o order) metered(used func() (map[int]time.Duration, error), count func() counted) (counted, error) {
	before, err := used()
	if err != nil {
		return counted{}, err
	}
	begun := time.Now()
	c := count()
	c.Took = time.Since(begun)
	after, err := used()
	for pid, d := range after { // one that has ended was there before, and had nothing to do any more
		c.CPU += d - before[pid]
	}
	return c, err
}

// family is Pids and their children. To find these takes long, among users who
// send as much as they can: it is asked before they do.
func (o order) family() (all []int, err error) {
	for _, pid := range o.Pids {
		if !o.Forks {
			all = append(all, pid)
			continue
		}
		each, err := meter.FamilyCPUs(pid)
		if err != nil {
			return nil, err
		}
		all = slices.AppendSeq(all, maps.Keys(each))
	}
	return all, nil
}

// living returns what reads the CPU time of a family, of which some may end.
func living(family []int) func() (map[int]time.Duration, error) {
	return func() (map[int]time.Duration, error) {
		all := map[int]time.Duration{}
		for _, pid := range family {
			if d, err := meter.CPU(pid); err == nil {
				all[pid] = d
			}
		}
		return all, nil
	}
}

// ended reads the CPU time of Pids and of their children that have ended: all
// that served TCP, when nobody is connected. It waits for that, but not for
// long, since those that serve UDP stay.
func (o order) ended() (map[int]time.Duration, error) {
	for end, before := time.Now().Add(2*time.Second), -1; time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		family, err := o.family()
		if err != nil {
			return nil, err
		}
		if len(family) == len(o.Pids) || len(family) == before {
			break
		}
		before = len(family)
	}
	all := map[int]time.Duration{}
	var errs []error
	for _, pid := range o.Pids {
		own, err := meter.CPU(pid)
		gone, failed := meter.EndedCPU(pid)
		all[pid] = own + gone
		errs = append(errs, err, failed)
	}
	return all, errors.Join(errs...)
}

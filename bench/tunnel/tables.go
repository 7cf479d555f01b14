package main

import (
	"fmt"

	"signalbox/bench/outcome"
	"signalbox/bench/plot"
)

// udp is the table of datagrams, with its points.
func (l *lab) udp() (t outcome.Table, data []point) {
	t = outcome.Table{Title: "Datagrams, there and back", Header: []string{"way", "forwarded by", "bytes",
		"CPU each, µs", "in socat's", "a second", "in socat's", "core busy", fmt.Sprintf("lost at %d a second", offered)}}
	for _, size := range sizes {
		for _, group := range groups {
			for _, w := range l.ways {
				if w.group != group || len(w.echoes[size]) == 0 {
					continue
				}
				p := l.point(w, fmt.Sprintf("udp %d", size), func(w *way) []measured { return w.echoes[size] })
				p.Lost = median(w.offers[size], counted.lost)
				data = append(data, p)
				c := p.cells(1e6)
				t.Rows = append(t.Rows, []string{p.Way, p.Group, fmt.Sprint(size), c[0], c[2], c[3], c[5], c[6], plot.Short(100*p.Lost) + "%"})
			}
		}
	}
	return t, data
}

// An idlePoint is one line of the table of idle connections.
type idlePoint struct {
	Way   string `json:"way"`
	Group string `json:"group"`
	// Connections there were; KiB is the memory of one, in all processes of the
	// way; Before and After are theirs in MiB.
	Connections int     `json:"connections"`
	KiB         float64 `json:"kib"`
	Before      float64 `json:"before_mib"`
	After       float64 `json:"after_mib"`
}

// idleTable is the table of idle connections, with its points.
func (l *lab) idleTable() (t outcome.Table, data []idlePoint) {
	t = outcome.Table{Title: "Idle connections", Header: []string{"way", "forwarded by", "connections", "memory without, MiB", "memory with, MiB", "a connection, KiB"}}
	for _, w := range l.ways {
		if w.idle == nil {
			continue
		}
		p := idlePoint{Way: w.name, Group: w.group, Connections: w.idle.Count, KiB: w.idle.each(), Before: float64(w.idle.Before) / (1 << 20), After: float64(w.idle.After) / (1 << 20)}
		data = append(data, p)
		t.Rows = append(t.Rows, []string{p.Way, p.Group, fmt.Sprint(p.Connections), plot.Short(p.Before), plot.Short(p.After), plot.Short(p.KiB)})
	}
	return t, data
}

// panels are the picture: of TCP 16 connections up, of datagrams the small ones.
func (l *lab) panels(data []point) (all []plot.Panel) {
	bars := func(title, what, group string, value func(point) float64) {
		b := plot.Bars{Title: title}
		for _, p := range data {
			if p.What == what && p.Group == group && p.Each > 0 {
				b.Bars = append(b.Bars, plot.Bar{Name: p.Way, Ours: p.ours, Value: value(p)})
			}
		}
		if len(b.Bars) > 0 {
			all = append(all, b)
		}
	}
	cpu := func(p point) float64 { return p.Each }
	rate := func(p point) float64 { return p.Rate }
	for _, group := range groups {
		bars("TCP, 16 up: CPU seconds a GiB, "+group, "tcp 16, up", group, cpu)
		bars("TCP, 16 up: GiB a second, "+group, "tcp 16, up", group, rate)
	}
	for _, group := range groups {
		bars("Connections a second, "+group, "connections", group, rate)
	}
	for _, group := range groups {
		bars("Datagrams of 100 bytes a second, "+group, "udp 100", group, rate)
	}
	for _, group := range groups {
		idle := plot.Bars{Title: "Memory of an idle connection, KiB, " + group}
		for _, w := range l.ways {
			if w.group == group && w.idle != nil {
				idle.Bars = append(idle.Bars, plot.Bar{Name: w.name, Ours: w.ours, Value: w.idle.each()})
			}
		}
		if len(idle.Bars) > 0 {
			all = append(all, idle)
		}
	}
	return all
}

// notes say what was compared, and what was not.
func (l *lab) notes() []string {
	notes := []string{
		"Versions: Signalbox of this commit" + l.versions + ". Settings: HAProxy has one thread and has the kernel copy (splice-request, splice-response), which a single end does, too; socat has a process for every connection and pieces of 64 KiB; they are in bench/tunnel/peers.go. wire=1.14 and wire=1.4 keep 64 connections between the ends in stock, as they do by default, and more while that is used up.",
		"A node is the real one, fed by a control plane on the other core, and reports to it every second; that is in its CPU time, what the control plane uses is not.",
		"A core that is not busy was waiting for users and targets, or something else was using it; then the rate is a lower bound, and CPU time is what counts.",
		fmt.Sprintf("A short connection is: connect, send one byte, read one, close; %d users at a time.", visitors),
		fmt.Sprintf("Datagrams: %d users have one each on its way, and the target sends back what it gets. What is lost is measured by itself, at %d a second whatever comes back. HAProxy has no UDP; socat's chain of two carries it as UDP, ours within the tunnel. Connections of wire=1.14 do not tell where a datagram ends, and wire=1.4 has one of them for each.", senders, offered),
		"Idle connections have carried one byte there and back, in processes that have done nothing else. Memory is what is resident in all processes of the way. socat has a process for each, and is left out.",
	}
	for _, w := range l.ways {
		if w.failing > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d short connections failed: %s.", w.full(), w.failing, w.failed))
		}
		if w.idle != nil && w.idle.Err != "" {
			notes = append(notes, fmt.Sprintf("%s: there are not more idle connections because of: %s.", w.full(), w.idle.Err))
		}
	}
	return append(notes, l.missing...)
}

package nodepass

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"
)

// machine tells how the machine does that we run on, as far as Linux says it in
// /proc. The zero value is usable.
type machine struct {
	mu         sync.Mutex // guards what follows
	busy, idle uint64     // CPU time at the last reading, in ticks
}

// load is one reading. Sizes are in bytes.
type load struct {
	cpu                int // percent of all CPUs
	memory, memoryUsed uint64
	swap, swapUsed     uint64
	received, sent     uint64 // by all interfaces but loopback
	read, written      uint64 // by all disks
	up                 uint64 // seconds
}

// read takes a reading. CPU time is counted since the one before.
func (m *machine) read() load {
	l := load{cpu: m.cpu()}
	memory := map[string]uint64{}
	for f := range rows("/proc/meminfo") {
		if len(f) > 1 {
			memory[f[0]] = number(f[1]) << 10
		}
	}
	l.memory, l.memoryUsed = memory["MemTotal:"], less(memory["MemTotal:"], memory["MemAvailable:"])
	l.swap, l.swapUsed = memory["SwapTotal:"], less(memory["SwapTotal:"], memory["SwapFree:"])
	for f := range rows("/proc/net/dev") {
		if name, first, found := strings.Cut(f[0], ":"); found && name != "lo" {
			if first != "" { // the number may stand right behind the colon
				f = append([]string{name, first}, f[1:]...)
			}
			if len(f) > 9 {
				l.received += number(f[1])
				l.sent += number(f[9])
			}
		}
	}
	for f := range rows("/proc/diskstats") {
		if len(f) > 9 && isDisk(f[2]) {
			l.read += number(f[5]) * sector
			l.written += number(f[9]) * sector
		}
	}
	for f := range rows("/proc/uptime") {
		seconds, _, _ := strings.Cut(f[0], ".")
		l.up = number(seconds)
	}
	return l
}

// sector is what /proc/diskstats counts in, whatever the disk's own are.
const sector = 512

// isDisk reports whether a block device is a disk, neither part of one nor made
// of others.
func isDisk(name string) bool {
	for _, virtual := range []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd"} {
		if strings.HasPrefix(name, virtual) {
			return false
		}
	}
	_, err := os.Stat("/sys/block/" + name)
	return err == nil
}

// cpu is how much of the CPUs was used since the last call, in percent; at
// first, since the machine started.
func (m *machine) cpu() int {
	for f := range rows("/proc/stat") {
		if f[0] != "cpu" || len(f) < 9 {
			continue
		}
		var busy, idle uint64
		for i, v := range f[1:9] { // guests' time is in users' already
			if i == 3 || i == 4 { // idle, or waiting for a disk
				idle += number(v)
			} else {
				busy += number(v)
			}
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		b, all := less(busy, m.busy), less(busy+idle, m.busy+m.idle)
		m.busy, m.idle = busy, idle
		if all == 0 {
			return 0
		}
		return int(100 * b / all)
	}
	return 0
}

// rows are a file's lines that hold anything, in fields; none when it cannot be
// read.
func rows(file string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		data, err := os.ReadFile(file)
		if err != nil {
			return
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			if f := strings.Fields(lines.Text()); len(f) > 0 && !yield(f) {
				return
			}
		}
	}
}

// number is a number, or 0.
func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// less is a-b, or 0 where that is less.
func less(a, b uint64) uint64 { return a - min(a, b) }

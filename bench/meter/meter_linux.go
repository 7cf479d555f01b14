package meter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// CPU returns the CPU time that a process has used, in user and kernel mode.
func CPU(pid int) (time.Duration, error) {
	d, err := clock(pid)
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return d, nil
}

// FamilyCPU returns the CPU time that a process and its living descendants
// have used.
func FamilyCPU(pid int) (sum time.Duration, err error) {
	each, err := FamilyCPUs(pid)
	for _, d := range each {
		sum += d
	}
	return sum, err
}

// FamilyCPUs returns the CPU time that a process and each of its descendants
// have used, by their ids. A descendant that has ended and was not waited for
// has used nothing.
func FamilyCPUs(pid int) (map[int]time.Duration, error) {
	own, err := CPU(pid)
	if err != nil {
		return nil, err
	}
	all, err := family(pid)
	if err != nil {
		return nil, err
	}
	each := map[int]time.Duration{pid: own}
	for _, p := range all[1:] {
		each[p], _ = clock(p)
	}
	return each, nil
}

// clock reads the clock of a process, which counts all of its threads, dead
// ones too. Its id is as clock_getcpuclockid(3) makes it.
func clock(pid int) (time.Duration, error) {
	const sched = 2 // the scheduler's count, and not that of ticks
	id := ^pid<<3 | sched
	var ts syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(int32(id)), uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0, errno
	}
	return time.Duration(ts.Nano()), nil
}

// family is a process and its descendants.
func family(pid int) ([]int, error) {
	children := map[int][]int{}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// The second field is the name in parentheses, and may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // state, parent, ...
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || len(fields) < 2 {
			continue
		}
		parent, err := strconv.Atoi(fields[1])
		if err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// Resident returns how much memory a process has, without its descendants, in
// bytes.
func Resident(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm of process %d is %q", pid, statm)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// Load returns how many processes wanted to run in the last minute, on
// average.
func Load() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	return strconv.ParseFloat(first, 64)
}

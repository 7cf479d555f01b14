package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A load is what a load generator did.
type load struct {
	Requests int64
	Took     time.Duration
	// P50 and P99 are latencies, in milliseconds.
	P50, P99 float64
}

// wrk loads a URL for a while. Anything but success is an error.
func wrk(ctx context.Context, under []string, connections int, d time.Duration, url, script string) (load, error) {
	args := append(append([]string{}, under...), "wrk", "-t1", "-c", strconv.Itoa(connections),
		"-d", strconv.Itoa(max(1, int(d.Seconds()))), "--timeout", "30s", "--latency")
	if script != "" {
		args = append(args, "-s", script)
	}
	args = append(args, url)
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return parseWrk(string(out))
}

var (
	wrkTotal   = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([0-9.]+[a-z]+),`)
	wrkLatency = regexp.MustCompile(`(?m)^\s*(50|99)%\s+([0-9.]+(?:us|ms|s|m))$`)
	wrkFailed  = regexp.MustCompile(`(?m)^\s*(Socket errors:.*|Non-2xx.*)$`)
)

// parseWrk reads what wrk prints.
func parseWrk(out string) (l load, err error) {
	total := wrkTotal.FindStringSubmatch(out)
	if total == nil {
		return l, fmt.Errorf("wrk says nothing of requests: %q", out)
	}
	if failed := wrkFailed.FindString(out); failed != "" {
		return l, errors.New("wrk: " + strings.TrimSpace(failed))
	}
	if l.Requests, err = strconv.ParseInt(total[1], 10, 64); err != nil {
		return l, err
	}
	if l.Took, err = time.ParseDuration(total[2]); err != nil {
		return l, err
	}
	for _, m := range wrkLatency.FindAllStringSubmatch(out, -1) {
		d, err := time.ParseDuration(m[2])
		if err != nil {
			return l, err
		}
		ms := float64(d) / float64(time.Millisecond)
		if m[1] == "50" {
			l.P50 = ms
		} else {
			l.P99 = ms
		}
	}
	if l.Requests == 0 {
		err = errors.New("wrk: nothing was answered")
	}
	return l, err
}

// postScript makes wrk send a body, the same each time.
func postScript() string {
	return fmt.Sprintf("wrk.method = %q\nwrk.body = string.rep(%q, %d)\nwrk.headers[%q] = %q\n",
		"POST", "x", postSize, "Content-Type", "application/octet-stream")
}

// postSize is how long the body of a POST is.
const postSize = 16 << 10

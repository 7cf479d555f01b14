package main

import (
	"strings"
	"testing"
	"time"
)

func parsedCHP(t *testing.T, line string) *chpFlags {
	t.Helper()
	c := &chpFlags{}
	if err := c.parse(strings.Fields(line)); err != nil {
		t.Fatal(line, err)
	}
	return c
}

// CHP's times are in milliseconds, and what is no number is not given.
func TestWhatCHPsTimesMean(t *testing.T) {
	const none, second = time.Duration(-1), time.Second
	for line, want := range map[string]struct{ keep, idle time.Duration }{
		"":                                      {6 * second, none},
		"--keep-alive-timeout 0":                {6 * second, none},
		"--keep-alive-timeout x":                {6 * second, none},
		"--keep-alive-timeout 1500":             {2500 * time.Millisecond, none},
		"--timeout 3000":                        {6 * second, 3 * second},
		"--proxy-timeout 2000":                  {6 * second, 2 * second},
		"--timeout 3000 --proxy-timeout 2000":   {6 * second, 2 * second},
		"--timeout 2000 --proxy-timeout 3000":   {6 * second, 2 * second},
		"--timeout never --proxy-timeout 3000x": {6 * second, 3 * second},
		"--timeout 0 --proxy-timeout 3000":      {6 * second, 3 * second},
	} {
		all, err := parsedCHP(t, line).listeners()
		if err != nil {
			t.Fatal(line, err)
		}
		if got := all[0].GetIdleTimeout().AsDuration(); got != want.keep {
			t.Errorf("%q: connections wait %v, want %v", line, got, want.keep)
		}
		policy, idle := all[0].GetRouteDefaults(), none
		if policy.IdleTimeout != nil {
			idle = policy.GetIdleTimeout().AsDuration()
		}
		if idle != want.idle {
			t.Errorf("%q: requests may be idle for %v, want %v", line, idle, want.idle)
		}
		if idle != none && (policy.UpgradeIdleTimeout == nil || policy.GetUpgradeIdleTimeout().AsDuration() != 0) {
			t.Errorf("%q: WebSockets are not exempt", line)
		}
	}
}

func TestWhereCHPRedirects(t *testing.T) {
	const tls = " --ssl-key k --ssl-cert c"
	for line, want := range map[string]uint32{
		"--port 443 --redirect-port 80":                    443,
		"--port 8443 --redirect-port 8000":                 8443,
		"--port 8443 --redirect-port 8000 --redirect-to 0": 8443,
		"--port 8443 --redirect-port 8000 --redirect-to 9": 9,
		"--port 80 --redirect-port 8000":                   0, // never to port 80, as CHP
		"--port 8443 --redirect-port x":                    0,
		"--port 8443":                                      0,
	} {
		all, err := parsedCHP(t, line+tls).listeners()
		if err != nil {
			t.Fatal(line, err)
		}
		var to uint32
		for _, l := range all[1:] {
			to = l.GetHttpsRedirect().GetPort()
		}
		if to != want || (want != 0) != (len(all) == 2) {
			t.Errorf("%q: to %d, with %d listeners, want %d", line, to, len(all), want)
		}
	}
}

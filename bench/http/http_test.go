package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"signalbox/bench/child"
)

func TestMain(m *testing.M) {
	if was, err := child.Main(parts); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// origin starts an origin and returns its address.
func origin(t *testing.T) string {
	t.Helper()
	o, err := child.Start(context.WithoutCancel(t.Context()), child.Spec{Part: "origin"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	var addr string
	if err := o.Ask("address", &addr); err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestTheOriginAnswersOnKeptConnections(t *testing.T) {
	addr := origin(t)
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, body := range []string{"", strings.Repeat("x", postSize), ""} {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+requestPath, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || res.ContentLength != bodySize {
			t.Errorf("%s: %s with %d bytes", method, res.Status, res.ContentLength)
		}
	}
	if err := fetch(t.Context(), "http://"+addr+requestPath); err != nil {
		t.Error(err)
	}
}

func TestSocketsHearWhatTheySay(t *testing.T) {
	addr := origin(t)
	s, err := child.Start(t.Context(), child.Spec{Part: "sockets", Config: crowd{Connections: 3}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for range 2 {
		var c counted
		if err := s.Ask("connect "+addr, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Ask("run 20ms", &c); err != nil {
			t.Fatal(err)
		}
		if c.Messages < 3 || c.Took < 20*time.Millisecond {
			t.Errorf("%d messages in %v", c.Messages, c.Took)
		}
		if err := s.Ask("close", nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFramesComeBackAsTheyWent(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, mostPayload} {
		for _, masked := range []bool{false, true} {
			frame := appendFrame(nil, 0x82, []byte(strings.Repeat("y", n)), masked)
			first, payload, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), make([]byte, 0, mostPayload))
			if err != nil || first != 0x82 || string(payload) != strings.Repeat("y", n) {
				t.Errorf("%d bytes, masked %v: got %x, %d bytes, %v", n, masked, first, len(payload), err)
			}
		}
	}
}

func TestWhatWrkPrintsIsRead(t *testing.T) {
	const good = `Running 2s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.05ms  210.00us   9.99ms   88.00%
    Req/Sec    60.90k     1.00k   62.00k    70.00%
  Latency Distribution
     50%  980.00us
     75%    1.10ms
     90%    1.20ms
     99%    2.34ms
  121800 requests in 2.00s, 150.00MB read
Requests/sec:  60900.00
Transfer/sec:     75.00MB
`
	l, err := parseWrk(good)
	if want := (load{Requests: 121_800, Took: 2 * time.Second, P50: 0.98, P99: 2.34}); err != nil || l != want {
		t.Errorf("got %+v, %v, want %+v", l, err, want)
	}
	for _, bad := range []string{
		"",
		strings.Replace(good, "Requests/sec", "  Non-2xx or 3xx responses: 5\nRequests/sec", 1),
		strings.Replace(good, "Requests/sec", "  Socket errors: connect 0, read 5, write 0, timeout 0\nRequests/sec", 1),
		strings.Replace(good, "121800 requests", "0 requests", 1),
	} {
		if l, err := parseWrk(bad); err == nil {
			t.Errorf("%+v is what was read from\n%s", l, bad)
		}
	}
}

func TestAPeerThatIsNotInstalledIsNoPeer(t *testing.T) {
	if v, err := version("(.*)", "no-such-program")(t.Context(), options{}); err == nil {
		t.Errorf("version %q", v)
	}
	if v, err := chpVersion(t.Context(), options{chp: t.TempDir()}); err == nil {
		t.Errorf("version %q", v)
	}
}

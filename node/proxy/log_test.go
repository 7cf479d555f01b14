package proxy_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"signalbox/node/proxy"
	"signalbox/node/route"
	"signalbox/node/upstream"
)

// logOf runs requests on a handler that logs every n-th.
func logOf(t *testing.T, sample, requests int, url string) string {
	t.Helper()
	var out bytes.Buffer
	pools := upstream.New(upstream.Config{})
	h := proxy.New(proxy.Config{Pools: pools, Sample: sample, Log: slog.New(slog.NewTextHandler(&out, nil))})
	n := &node{t: t, handler: h, table: route.New(route.Config{})}
	n.route("/a", url)
	for range requests {
		h.For("other").ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/a/b?secret", nil))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_ = pools.Close(gone)
	return out.String()
}

func TestTheAccessLogIsSampledAndFailuresAreNot(t *testing.T) {
	up := web(t, func(http.ResponseWriter, *http.Request) {})
	for sample, want := range map[int]int{-1: 0, 0: 0, 1: 6, 3: 2} {
		if got := strings.Count(logOf(t, sample, 6, up), "msg=exchange"); got != want {
			t.Errorf("every %d-th of 6: %d lines", sample, got)
		}
	}
	if got := strings.Count(logOf(t, 0, 6, "http://127.0.0.1:1"), "level=WARN msg=exchange"); got != 6 {
		t.Errorf("of 6 failures %d are logged", got)
	}
	if got := logOf(t, -1, 6, "http://127.0.0.1:1"); got != "" {
		t.Errorf("where nothing is to be logged, this is: %s", got)
	}
}

// A flood of failures is counted where it is not logged.
func TestOfAFloodOfFailuresSomeAreLogged(t *testing.T) {
	const flood = 1000
	begun := time.Now()
	lines := strings.Count(logOf(t, 0, flood, "http://127.0.0.1:1"), "msg=exchange")
	if most := 100 * (2 + int(time.Since(begun)/time.Second)); lines < 100 || lines > most {
		t.Errorf("of %d failures %d are logged, want at most %d", flood, lines, most)
	}
}

func TestALineOfTheAccessLogHasTheSameFieldsEveryTime(t *testing.T) {
	line := logOf(t, 1, 1, web(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	for _, field := range []string{"listener=other", "client=192.0.2.1", "method=GET", "host=example.com", "path=/a/b ", "status=200",
		"bytes_in=0", "bytes_out=5", "duration_ms=", "route=r.a", "rev=1", "upstream=127.0.0.1:", "attempts=1"} {
		if !strings.Contains(line, " "+field) {
			t.Errorf("no %s in %s", field, line)
		}
	}
	if strings.Contains(line, "secret") {
		t.Errorf("the query is in %s", line)
	}
}

func TestARefusedHeadIsLoggedAsWhatTheClientSent(t *testing.T) {
	long := "/" + strings.Repeat("x", 300)
	for name, c := range map[string]struct{ head, method, path string }{
		"a bad header":     {"PUT /a/b?secret HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n", "PUT", "/a/b"},
		"bare LF":          {"HEAD /a HTTP/1.1\nHost: h\n\n", "HEAD", "/a"},
		"a whole URI":      {"GET http://user:secret@h/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/a"},
		"no path":          {"GET http://user:secret@h?/secret HTTP/1.1\r\nHost: h\r\n\r\n", "GET", `""`},
		"an authority":     {"CONNECT user:secret@h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "CONNECT", `""`},
		"a long path":      {"TRACE " + long + " HTTP/1.1\r\nHost: h\r\n\r\n", "TRACE", long[:200]},
		"a long method":    {long[1:] + " / HTTP/1.1\r\nHost: h\r\n\r\n", long[1:33], "/"},
		"a TLS hello":      {"\x16\x03\x01\x02\x00\x01\r\n\r\n", `""`, `""`},
		"what is no token": {"G@T /a HTTP/1.1\r\nHost: h\r\n\r\n", `""`, `""`},
	} {
		t.Run(name, func(t *testing.T) {
			n := plain(t)
			client := n.dial()
			client.raw(c.head)
			_ = client.rest()
			var line string
			eventually(t, "it is logged", func() bool { line = n.log.String(); return strings.Contains(line, "msg=exchange") })
			if want := " method=" + c.method + ` host="" path=` + c.path + " status="; !strings.Contains(line, want) {
				t.Errorf("no %s in %s", want, line)
			}
			if strings.Contains(line, "secret") || strings.Contains(line, "refused.invalid") {
				t.Errorf("logged is %s", line)
			}
		})
	}
}

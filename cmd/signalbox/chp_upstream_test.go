package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// chpUpstream answers with what it was asked, a line for each thing; the query
// says how: status, phrase, location, sleep (in milliseconds), raw (the whole
// answer). WebSockets are answered 101 and echoed.
func chpUpstream(t *testing.T, name string) string {
	server := httptest.NewServer(chpEcho(name))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func chpEcho(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if ms, err := strconv.Atoi(q.Get("sleep")); err == nil {
			select {
			case <-time.After(time.Duration(ms) * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
		if r.Header.Get("Upgrade") == "websocket" && q.Get("status") == "" {
			echoUpgraded(w, r)
			return
		}
		if raw := q.Get("raw"); raw != "" {
			sayRaw(w, raw)
			return
		}
		if l := q.Get("location"); l != "" {
			w.Header().Set("Location", l)
		}
		w.Header().Set("Content-Type", "text/x-echo")
		status, err := strconv.Atoi(q.Get("status"))
		if err != nil {
			status = http.StatusOK
		}
		body, _ := io.ReadAll(r.Body)
		if phrase := q.Get("phrase"); phrase != "" {
			sayRaw(w, fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, phrase))
			return
		}
		w.WriteHeader(status)
		if status == http.StatusNoContent || status == http.StatusNotModified {
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s %s\nhost: %s\n", name, r.Method, r.RequestURI, r.Host)
		for _, h := range []string{"X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Custom", "X_odd.name", "Cookie", "X-Dup", "Proxy", "User-Agent", "Te"} {
			for _, v := range r.Header.Values(h) {
				_, _ = fmt.Fprintf(w, "%s: %s\n", strings.ToLower(h), v)
			}
		}
		if r.Header.Get("Content-Length") == "0" {
			_, _ = fmt.Fprintln(w, "content-length: 0")
		}
		if len(body) > 0 {
			_, _ = fmt.Fprintf(w, "body: %s\n", body)
		}
	})
}

// sayRaw answers with bytes as they are, which net/http would not.
func sayRaw(w http.ResponseWriter, raw string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, raw)
}

// echoUpgraded says what the path was and echoes until the client ends.
func echoUpgraded(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Path: %s\r\nX-Proto: %s\r\nSec-Websocket-Protocol: %s\r\n\r\n",
		r.RequestURI, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Sec-Websocket-Protocol"))
	_, _ = io.Copy(conn, buffered)
}

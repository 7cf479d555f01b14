package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// The two ends of the demo, without a node between them.
func TestTheDemoSaysWhoAnswered(t *testing.T) {
	upstream := httptest.NewServer(named("demo7"))
	t.Cleanup(upstream.Close)
	u, err := url.Parse(upstream.URL + "/hello?x=1")
	if err != nil {
		t.Fatal(err)
	}
	a := &asker{url: u, told: map[string]int{}, names: map[string]string{}}
	for range 3 {
		line, ok := a.ask(t.Context())
		if !ok || !strings.HasPrefix(line, "demo7 was asked GET /hello?x=1 at "+u.Host) {
			t.Errorf("the answer is %q, %v", line, ok)
		}
	}
	var out bytes.Buffer
	a.sum(&out)
	if got := out.String(); !strings.HasPrefix(got, "   3 through "+u.Host) || !strings.HasSuffix(got, " from demo7\n") {
		t.Errorf("the sum is %q", got)
	}
	upstream.Close()
	if line, ok := a.ask(t.Context()); ok || !strings.Contains(line, "refused") {
		t.Errorf("nobody's answer is %q, %v", line, ok)
	}
}

func TestTheDemoAnswersDatagrams(t *testing.T) {
	upstream, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		answerDatagrams(upstream, "demo7")
	}()
	a := &asker{url: &url.URL{Scheme: "udp", Host: upstream.LocalAddr().String()}, any: true, told: map[string]int{}, names: map[string]string{}}
	if line, ok := a.ask(t.Context()); !ok || line != "demo7 was sent datagram 1" {
		t.Errorf("the answer is %q, %v", line, ok)
	}
	_ = upstream.Close()
	<-done
	if line, ok := a.ask(t.Context()); ok || !strings.Contains(line, "refused") {
		t.Errorf("nobody's answer is %q, %v", line, ok)
	}
	var out bytes.Buffer
	a.sum(&out)
	if got := out.String(); !strings.Contains(got, "from demo7\n") || !strings.Contains(got, " failed\n") {
		t.Errorf("the sum is %q", got)
	}
}

// Who goes on until interrupted is told of failures and of seconds, not of every
// answer, and not of the request that the interruption ended.
func TestTheDemoAsksUntilItIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	asked := 0
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked++; asked { // one request at a time
		case 2:
			w.WriteHeader(http.StatusBadGateway)
		case 20:
			interrupt()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(upstream.Close)
	cmd := newDemoAsk()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage = true
	cmd.SetArgs([]string{upstream.URL, "-n", "0", "--every", "1ms"})
	err := cmd.ExecuteContext(ctx)
	if err == nil || err.Error() != "1 of 19 requests failed" || exitCode(err) != exitFailed {
		t.Errorf("it ends with %v", err)
	}
	got := out.String()
	if n := strings.Count(got, "502 Bad Gateway"); n != 1 {
		t.Errorf("the failure is told %d times: %s", n, got)
	}
	if !strings.Contains(got, "  18 through ") || !strings.Contains(got, "   1 through "+strings.TrimPrefix(upstream.URL, "http://")+" failed") {
		t.Errorf("the sum is wrong: %s", got)
	}
	if n := strings.Count(got, "\n"); n > 8 {
		t.Errorf("it printed %d lines: %s", n, got)
	}
}

func TestTheDemoRefusesWhatCannotBeAsked(t *testing.T) {
	for _, args := range [][]string{{"https://x"}, {"http://x", "-n", "-1"}, {"http://x", "--every", "-1s"}} {
		cmd := newDemoAsk()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(args)
		if err := cmd.ExecuteContext(t.Context()); exitCode(err) != exitUsage {
			t.Errorf("%v: %v", args, err)
		}
	}
}

package main

import (
	"bytes"
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

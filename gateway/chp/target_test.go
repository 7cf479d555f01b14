package chp

import (
	"strings"
	"testing"

	"signalbox/proto/rules"
)

// What Node.js 20 makes of them, as far as it matters to who is sent a request.
func TestTargetsAreReadAsByTheURLStandard(t *testing.T) {
	for target, want := range map[string]string{
		" http://h:1 ": "http://h:1", "http://h:1/x \t\r\n": "http://h:1/x", "http:h:1": "http://h:1", "http:/h:1/x": "http://h:1/x",
		"http:////h:1//x": "http://h:1//x", `http:\\h:1\x`: "http://h:1/x", "http:///x/y": "http://x/y", "http://h/a\tb\nc": "http://h/abc",
		"http://127.1:9": "http://127.0.0.1:9", "http://0x7f000001:9": "http://127.0.0.1:9", "http://0177.0.0.1": "http://127.0.0.1",
		"http://2130706433": "http://127.0.0.1", "http://1.2.3.": "http://1.2.0.3", "http://0x/": "http://0.0.0.0/", "http://1.2.3.4": "http://1.2.3.4",
		"http://256.1.1.1": "", "http://1.2.3.4.5": "", "http://09": "", "http://4294967296": "", "http://h.1": "", "http://h.1x": "http://h.1x",
		"http://h/a b": "http://h/a%20b", "http://h/\"<>`{}|^[]~é": "http://h/%22%3C%3E%60%7B%7D|^[]~%C3%A9",
		"http://h/?a b\"<>`{}|'é": "http://h/?a%20b%22%3C%3E`{}|%27%C3%A9", "http://h?x": "http://h?x", "http://h?": "http://h?", "http://h?x#f g": "http://h?x",
		"http://h/a/../b": "http://h/b", "http://h/a/%2e%2E/b/.": "http://h/b/", "http://h/%41%2f": "http://h/%41%2f",
		"http://bücher.example/": "http://xn--bcher-kva.example/", "http://a%41b/": "http://aAb/", "http://u:p@h/x": "http://u:p@h/x",
		"http://[::1]:1": "http://[::1]:1", "HTTP://H.Example:80/x/": "HTTP://H.Example:80/x/", "http://h": "http://h",
		"http+unix://%2Ftmp%2Fx/a ": "http+unix://%2Ftmp%2Fx/a", "not a url": "not a url", "": "", "http://h/%zz": "http://h/%zz",
	} {
		got, err := usable(target)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
}

// A target comes back as it was sent, however it is kept.
func TestATargetComesBackAsItWasSent(t *testing.T) {
	p := start(t, Config{})
	const odd = ` http:127.1:9/a b/../c `
	p.must(201, "POST", "/api/routes/odd", `{"user":"ana","target":"`+odd+`"}`)
	if got := p.must(200, "GET", "/api/routes/odd", "").body; !strings.HasPrefix(got, `{"target":"`+odd+`","user":"ana","last_activity":"`) {
		t.Errorf("got %s", got)
	}
	route := p.cp.Route("chp/odd")
	if url := route.GetUpstreams()[0].GetUrl(); url != "http://127.0.0.1:9/c" {
		t.Errorf("requests go to %s", url)
	}
	route.Upstreams[0].Url = "http://other:1" // by an operator
	p.put(route)
	if got := p.must(200, "GET", "/api/routes/odd", "").body; !strings.HasPrefix(got, `{"target":"http://other:1","user":"ana"`) {
		t.Errorf("got %s", got)
	}
	p.must(400, "POST", "/api/routes/odd", `{"target":"http://256.1.1.1"}`)
}

// What stands for a target stands for itself.
func FuzzAUsableTargetStandsForItself(f *testing.F) {
	for _, s := range []string{" http://h:1 ", "http:h/a b", "http://0x7f.1/../x?y#z", "http://bücher/", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := usable(s)
		if _, bad := rules.ParseUpstream(once); err != nil || bad != nil {
			return
		}
		twice, err := usable(once)
		if err != nil || once != twice {
			t.Errorf("%q is %q, and that is %q, %v", s, once, twice, err)
		}
	})
}

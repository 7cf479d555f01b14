package main

import (
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A chpRow is one request and its answer, as configurable-http-proxy 5.3 gives
// it. In its texts {A}, {B}, {C} and {D} stand for upstreams, {E} for who has
// error pages, {dead} for an address where nobody listens, {public} and {port}
// for where the proxy is.
type chpRow struct {
	// ask is the request: its first line without the version, then header lines
	// after "|", then the body after "||". Calls of the API get the token
	// unless they say something of Authorization. A Host is added.
	ask    string
	status int
	// body is the answer's: all of it; or what it must contain, after "~".
	// "-" is any.
	body string
	// header is a line that must be in the answer's header; one that begins with
	// "!" must not.
	header string
	// ours says why we answer otherwise on purpose; theirs is then the status
	// that CHP gives, 0 for none, and the rest of the row is ours.
	ours   string
	theirs int
	// apart says why a cluster answers otherwise, which is then not compared.
	apart string
}

// A chpGroup is rows that are played in order to one proxy.
type chpGroup struct {
	name string
	args []string
	// routes are written before, as "KEY TARGET" with the key as it is sent.
	routes []string
	rows   []chpRow
	// alone says why the group is for a process of its own alone.
	alone string
}

// play plays a group to a system of a kind.
func (g chpGroup) play(t *testing.T, kind string) {
	names := map[string]string{"{dead}": freeAddr(t)}
	for _, name := range []string{"A", "B", "C", "D"} {
		names["{"+name+"}"] = chpUpstream(t, name)
	}
	pages := httptest.NewServer(chpEcho("PAGE"))
	t.Cleanup(pages.Close)
	names["{E}"] = strings.TrimPrefix(pages.URL, "http://")
	dir := t.TempDir()
	for name, text := range map[string]string{"404.html": "<p>my 404</p>", "error.html": "<p>my error</p>"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names["{pages}"] = dir
	fill := func(s string) string {
		for name, value := range names {
			s = strings.ReplaceAll(s, name, value)
		}
		return s
	}
	args := make([]string, len(g.args))
	for i, a := range g.args {
		args[i] = fill(a)
	}
	s := startCHP(t, kind, args...)
	names["{public}"] = s.public
	_, names["{port}"], _ = net.SplitHostPort(s.public)
	for _, r := range g.routes {
		key, target, _ := strings.Cut(fill(r), " ")
		if a := s.ask(t, "POST /api/routes"+key+"||{\"target\":\""+target+"\"}"); a.status != 201 {
			t.Fatalf("route %s: %d %s", key, a.status, a.body)
		}
	}
	for _, row := range g.rows {
		if kind == asCluster && row.apart != "" {
			continue
		}
		ask := fill(row.ask)
		got := s.ask(t, ask)
		if kind == asCHP && row.ours != "" {
			if got.status != row.theirs {
				t.Errorf("%s: CHP answers %d, the row says %d", row.ask, got.status, row.theirs)
			}
			continue
		}
		row.check(t, fill, got)
	}
}

// check compares an answer with the row.
func (r chpRow) check(t *testing.T, fill func(string) string, got answered) {
	t.Helper()
	if got.status != r.status {
		t.Errorf("%s: got %d %q, want %d", r.ask, got.status, got.body, r.status)
		return
	}
	body := masked(got.body)
	switch want := fill(r.body); {
	case want == "-":
	case strings.HasPrefix(want, "~"):
		if !strings.Contains(body, want[1:]) {
			t.Errorf("%s: got %q, want it to have %q", r.ask, body, want[1:])
		}
	case body != want:
		t.Errorf("%s: got %q, want %q", r.ask, body, want)
	}
	if r.header == "" {
		return
	}
	name, want, _ := strings.Cut(fill(r.header), ": ")
	if absent, no := strings.CutPrefix(name, "!"); no {
		if got.header.Get(absent) != "" {
			t.Errorf("%s: there is a header %s: %s", r.ask, absent, got.header.Get(absent))
		}
	} else if got.header.Get(name) != want {
		t.Errorf("%s: the header %s is %q, want %q", r.ask, name, got.header.Get(name), want)
	}
}

var stamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)

// masked hides what is never the same: times, and a JavaScript engine's words.
func masked(body string) string {
	body = stamps.ReplaceAllString(body, "TIME")
	return regexp.MustCompile(`SyntaxError: .*`).ReplaceAllString(body, "SyntaxError")
}

// ask plays a row's request.
func (s *chpSystem) ask(t *testing.T, ask string) answered {
	t.Helper()
	head, body, _ := strings.Cut(ask, "||")
	lines := strings.Split(head, "|")
	addr := s.public
	request := lines[0] + " HTTP/1.1\r\n"
	if api, ok := strings.CutPrefix(lines[0], "API "); ok {
		addr, request = s.api, api+" HTTP/1.1\r\n"
	} else if strings.Contains(lines[0], " /api/routes") {
		addr = s.api
	}
	lower := strings.ToLower(head)
	if addr == s.api && !strings.Contains(lower, "|authorization:") {
		request += "Authorization: token " + chpToken + "\r\n"
	}
	if !strings.Contains(lower, "|host:") {
		request += "Host: " + addr + "\r\n"
	}
	for _, l := range lines[1:] {
		request += l + "\r\n"
	}
	if strings.Contains(ask, "||") {
		request += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return s.send(t, addr, request+"\r\n"+body, 3*time.Second)
}

// TestCHPsTranscriptsReplay plays everything that is known of CHP's behaviour to
// the drop-in, and to a cluster that was told the same over its API.
func TestCHPsTranscriptsReplay(t *testing.T) {
	for _, g := range chpGroups() {
		for _, kind := range []string{asDropIn, asCluster} {
			if kind == asCluster && g.alone != "" {
				continue
			}
			t.Run(g.name+" to a "+kind, func(t *testing.T) { g.play(t, kind) })
		}
	}
}

// TestBesideCHP plays the same to the program itself, which SIGNALBOX_CHP names:
// what the rows say of it must be true.
func TestBesideCHP(t *testing.T) {
	if os.Getenv("SIGNALBOX_CHP") == "" {
		t.Skip("SIGNALBOX_CHP does not name a configurable-http-proxy")
	}
	for _, g := range chpGroups() {
		t.Run(g.name, func(t *testing.T) { g.play(t, asCHP) })
	}
}

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

	"signalbox/node/certfile/certtest"
)

// noHost stands among a row's header lines for that Host is left out.
const noHost = "Host:none"

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
	// end is what becomes of the connection, where that is told.
	end string
	// ours says why we answer otherwise on purpose; the row is then ours, and
	// theirs is what CHP does: its status, 0 for none, and its body, header and
	// end where they are told.
	ours   string
	theirs int
	their  chpAnswer
	// apart says why a cluster answers otherwise, which is then not compared.
	apart string
}

// A chpAnswer is of a row what is CHP's own: see chpRow.
type chpAnswer struct{ body, header, end string }

// as is the row as a system of a kind answers it.
func (r chpRow) as(kind string) chpRow {
	if kind != asCHP || r.ours == "" {
		return r
	}
	r.status, r.body, r.header, r.end = r.theirs, r.their.body, r.their.header, r.their.end
	if r.body == "" {
		r.body = "-"
	}
	return r
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
	sign := certtest.New(t)
	sign.Make("server", 2)
	names := map[string]string{"{dead}": freeAddr(t), "{redirect}": freeAddr(t), "{key}": sign.File("server.key"), "{cert}": sign.File("server.pem")}
	_, names["{redirectPort}"], _ = net.SplitHostPort(names["{redirect}"])
	for _, name := range []string{"A", "B", "C", "D"} {
		names["{"+name+"}"] = chpUpstream(t, name)
	}
	_, names["{Aport}"], _ = net.SplitHostPort(names["{A}"])
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
	s.redirect = names["{redirect}"]
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
		row = row.as(kind)
		send := s.send
		if row.end != "" {
			send = s.sendAndSee
		}
		row.check(t, fill, s.askBy(t, send, fill(row.ask)))
	}
}

// check compares an answer with the row.
func (r chpRow) check(t *testing.T, fill func(string) string, got answered) {
	t.Helper()
	if got.status != r.status {
		t.Errorf("%s: got %d %q, want %d", r.ask, got.status, got.body, r.status)
		return
	}
	if r.end != "" && got.end != r.end {
		t.Errorf("%s: the connection %s, want that it %s", r.ask, got.end, r.end)
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
	return s.askBy(t, s.send, ask)
}

// askBy plays a row's request in a way.
func (s *chpSystem) askBy(t *testing.T, send func(*testing.T, string, string, time.Duration) answered, ask string) answered {
	t.Helper()
	head, body, _ := strings.Cut(ask, "||")
	lines := strings.Split(head, "|")
	addr := s.public
	request := lines[0] + " HTTP/1.1\r\n"
	if api, ok := strings.CutPrefix(lines[0], "API "); ok {
		addr, request = s.api, api+" HTTP/1.1\r\n"
	} else if other, ok := strings.CutPrefix(lines[0], "REDIRECT "); ok {
		addr, request = s.redirect, other+" HTTP/1.1\r\n"
	} else if strings.Contains(lines[0], " /api/routes") {
		addr = s.api
	}
	if strings.HasSuffix(lines[0], " HTTP/1.0") { // which has its own
		request = strings.TrimSuffix(request, " HTTP/1.1\r\n") + "\r\n"
	}
	lower := strings.ToLower(head)
	if addr == s.api && !strings.Contains(lower, "|authorization:") {
		request += "Authorization: token " + chpToken + "\r\n"
	}
	if !strings.Contains(lower, "|host:") {
		request += "Host: " + addr + "\r\n"
	}
	for _, l := range lines[1:] {
		if l == noHost {
			continue
		}
		request += l + "\r\n"
	}
	if strings.Contains(ask, "||") {
		request += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return send(t, addr, request+"\r\n"+body, 3*time.Second)
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

// Of a row that says that CHP answers otherwise, something must tell both apart.
func TestRowsThatDifferSayInWhat(t *testing.T) {
	for _, g := range chpGroups() {
		for _, row := range g.rows {
			same := row.theirs == row.status && row.their == chpAnswer{}
			silent := row.theirs == 0 && row.their.end == ""
			if row.ours != "" && (same || silent) {
				t.Errorf("%s: %s: CHP's answer could be ours", g.name, row.ask)
			}
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

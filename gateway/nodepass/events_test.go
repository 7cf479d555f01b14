package nodepass

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/gateway/gatewaytest"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// follower reads one response of events.
type follower struct {
	t      testing.TB
	conn   net.Conn
	header http.Header
	raw    *bufio.Reader // the body, chunked still
	body   *bufio.Reader // the body
}

// heard is an event as a follower reads it.
type heard struct {
	Type     string
	Time     string
	Instance *instance
	Logs     *string

	id string
}

// follow asks for events. Chunks are to be read by raw or by body, not both.
func (m *master) follow(key string, header ...string) *follower {
	m.t.Helper()
	conn := m.dial()
	m.t.Cleanup(func() { _ = conn.Close() })
	var b strings.Builder
	fmt.Fprintf(&b, "GET /api/v1/events HTTP/1.1\r\nHost: master\r\nX-API-Key: %s\r\n", key)
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
	}
	if _, err := io.WriteString(conn, b.String()+"\r\n"); err != nil {
		m.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	f := &follower{t: m.t, conn: conn, raw: in, header: http.Header{}}
	status, err := in.ReadString('\n')
	if err != nil || status != "HTTP/1.1 200 OK\r\n" {
		m.t.Fatalf("got %q, %v", status, err)
	}
	for {
		l, err := in.ReadString('\n')
		if err != nil {
			m.t.Fatal(err)
		}
		name, value, found := strings.Cut(strings.TrimRight(l, "\r\n"), ": ")
		if !found {
			break
		}
		f.header[name] = append(f.header[name], value)
	}
	f.body = bufio.NewReader(httputil.NewChunkedReader(in))
	return f
}

// chunk reads one chunk as it was sent, with its size.
func (f *follower) chunk() string {
	f.t.Helper()
	size, err := f.raw.ReadString('\n')
	if err != nil {
		f.t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(size, "%x\r\n", &n); err != nil {
		f.t.Fatalf("%q: %v", size, err)
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(f.raw, b); err != nil {
		f.t.Fatal(err)
	}
	return string(b[:n])
}

// block reads to a blank line.
func (f *follower) block() (string, error) {
	var b strings.Builder
	for {
		l, err := f.body.ReadString('\n')
		if err != nil || l == "\n" {
			return b.String(), err
		}
		b.WriteString(l)
	}
}

// next reads to the next event.
func (f *follower) next() heard {
	f.t.Helper()
	e, err := f.try()
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

// try reads to the next event or the end.
func (f *follower) try() (heard, error) {
	for {
		b, err := f.block()
		if err != nil {
			return heard{}, err
		}
		lines := strings.Split(strings.TrimSuffix(b, "\n"), "\n")
		if len(lines) < 2 || lines[0] != "event: instance" || !strings.HasPrefix(lines[1], "data: ") || len(lines) > 2 && !strings.HasPrefix(lines[2], "id: ") || len(lines) > 3 {
			if b != "retry: 3000\n" {
				f.t.Errorf("got the block %q", b)
			}
			continue
		}
		var e heard
		if err := json.Unmarshal([]byte(lines[1][len("data: "):]), &e); err != nil {
			f.t.Error(err)
		}
		if len(lines) > 2 {
			e.id = strings.TrimPrefix(lines[2], "id: ")
		}
		if e.Logs == nil {
			f.t.Errorf("no logs in %s", lines[1])
		}
		return e, nil
	}
}

// want reads the next event, which has to be this.
func (f *follower) want(kind, id, status string) heard {
	f.t.Helper()
	e := f.next()
	if e.Type != kind || e.Instance == nil || e.Instance.ID != id || e.Instance.Status != status {
		f.t.Fatalf("got %s %+v, want %s of %s, %s", e.Type, e.Instance, kind, id, status)
	}
	return e
}

// The transcript of a real master, with 1.14's fields, logs, and ids.
func TestEventsByteForByte(t *testing.T) {
	m := start(t, Config{poll: time.Hour})
	f := m.follow(gatewaytest.Admin)
	want := corsOnly.Clone()
	want["Cache-Control"] = []string{"no-cache"}
	want["Connection"] = []string{"keep-alive"}
	want["Content-Type"] = []string{"text/event-stream"}
	want["Transfer-Encoding"] = []string{"chunked"}
	want["X-Accel-Buffering"] = []string{"no"} // ours
	delete(f.header, "Date")
	if !maps.EqualFunc(f.header, want, slices.Equal[[]string]) {
		t.Errorf("got %v, want %v", f.header, want)
	}
	expect := func(kind, before, object, logs string) {
		t.Helper()
		got := f.chunk()
		pattern := "^" + before + "event: instance\ndata: " + regexp.QuoteMeta(`{"type":"`+kind+`","time":"`) +
			`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)` + regexp.QuoteMeta(`","instance":`+object+`,"logs":"`) + logs + `"\}` +
			"\n(id: e1\\.\\d+\\.0\n)?\n$"
		if !regexp.MustCompile(pattern).MatchString(got) {
			t.Errorf("got the chunk\n%q; want\n%s", got, pattern)
		}
	}
	master, _ := m.h.look(withKey(t))
	key, err := json.Marshal(keyObject(gatewaytest.Admin, master))
	if err != nil {
		t.Fatal(err)
	}
	line := func(status string) string { return strings.TrimSpace(shown(one, "", status, oneURL, false)) }
	expect("initial", "retry: 3000\n\n", string(key), "")
	if err := m.cp.Listeners(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	m.ask(201, "POST", "/instances", `{"url":"`+oneURL+`"}`, nil)
	expect("create", "", line("stopped"), "")
	m.runs(one, isRunning)
	expect("update", "", line("running"), "")
	at := time.Date(2026, 11, 20, 15, 36, 44, 94e6, time.Local)
	for level, colour := range map[signalboxv1.LogLevel]string{
		signalboxv1.LogLevel_LOG_LEVEL_DEBUG: "34mDEBUG", signalboxv1.LogLevel_LOG_LEVEL_INFO: "32mINFO",
		signalboxv1.LogLevel_LOG_LEVEL_WARN: "33mWARN", signalboxv1.LogLevel_LOG_LEVEL_ERROR: "31mERROR",
	} {
		m.cp.Say(&signalboxv1.LogLine{Instance: one, Node: "n", Time: timestamppb.New(at), Level: level, Text: "Init log level: INFO"})
		expect("log", "", line("running"), regexp.QuoteMeta(`2026-11-20 15:36:44.094  \u001b[`+colour+`\u001b[0m  Init log level: INFO`))
	}
	m.ask(200, "PATCH", "/instances/"+one, `{"action":"reset"}`, nil)
	expect("update", "", line("running"), "")
	m.ask(204, "DELETE", "/instances/"+one, "", nil)
	expect("delete", "", line("stopped"), "")
	m.h.Close()
	if got := f.chunk(); got != "" {
		t.Errorf("after the end came %q", got)
	}
}

// withKey is a context for calls in the admin's name.
func withKey(t *testing.T) context.Context {
	ctx, err := entering(bounded(t), http.Header{"X-Api-Key": {gatewaytest.Admin}})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestShutdownIsSaidOnlyWhenTheServiceEnds(t *testing.T) {
	m := start(t, Config{EndsForGood: true})
	f := m.follow(gatewaytest.Admin)
	f.want("initial", keyID, "")
	m.h.Close()
	block, err := f.block()
	if got := regexp.MustCompile(`"time":"[^"]*"`).ReplaceAllString(block, `"time":""`); err != nil || got != "event: instance\ndata: {\"type\":\"shutdown\",\"time\":\"\",\"instance\":null,\"logs\":\"\"}\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := f.try(); !errors.Is(err, io.EOF) {
		t.Errorf("it goes on: %v", err)
	}
}

// The order in which panels hear of an instance's life, all parts in one write.
func TestWhatHappensIsTold(t *testing.T) {
	m := start(t, Config{poll: time.Hour})
	m.put(&signalboxv1.Instance{Name: "a", Url: oneURL})
	f := m.follow(gatewaytest.Admin)
	f.want("initial", keyID, "")
	if e := f.want("initial", "a", "stopped"); e.id == "" {
		t.Error("there is no id to come back by")
	}
	m.ask(200, "PATCH", "/instances/a", `{"alias":"x","restart":true,"meta":{"tags":{"k":"v"},"peer":{"sid":"s","type":"1","alias":"p"}},"action":"start"}`, nil)
	e := f.want("update", "a", "stopped")
	if e.Instance.Alias != "x" || !e.Instance.Restart || e.Instance.Meta.Tags["k"] != "v" || e.Instance.Meta.Peer != (peer{"s", "1", "p"}) {
		t.Errorf("got %+v", e.Instance)
	}
	m.ask(200, "PATCH", "/instances/a", `{"restart":true}`, nil) // no event
	m.runs("a", isRunning)
	f.want("update", "a", "running")
	m.runs("a", isStarting) // looks the same: no event
	m.runs("a", isError)
	f.want("update", "a", "error")
	m.ask(200, "PATCH", "/instances/a", `{"meta":{"tags":{}}}`, nil)
	if e := f.want("update", "a", "error"); len(e.Instance.Meta.Tags) != 0 || e.Instance.Meta.Peer.SID != "s" {
		t.Errorf("got %+v", e.Instance)
	}
	m.ask(200, "PUT", "/instances/a", `{"url":"client://h:1/h:2"}`, nil)
	if e := f.want("update", "a", "error"); e.Instance.Type != "client" {
		t.Errorf("got %+v", e.Instance)
	}
	m.ask(204, "DELETE", "/instances/a", "", nil)
	f.want("delete", "a", "stopped")
	m.put(&signalboxv1.Instance{Name: "a", Url: oneURL})
	f.want("create", "a", "stopped")
}

func TestCountersAreToldAndWhatRunsIsNotForgotten(t *testing.T) {
	m := start(t, Config{poll: 20 * time.Millisecond, most: 100 * time.Millisecond})
	m.put(&signalboxv1.Instance{Name: "idle", Url: oneURL})
	m.put(&signalboxv1.Instance{Name: "runs", Url: oneURL})
	m.runs("runs", isRunning)
	f := m.follow(gatewaytest.Admin)
	f.want("initial", keyID, "")
	f.want("initial", "idle", "stopped")
	f.want("initial", "runs", "running")
	m.cp.Carry("idle", &signalboxv1.InstanceCounters{TcpSent: 5})
	for e := f.next(); e.Instance.TCPTx != 5; e = f.next() { // reminders of the other may come between
		if e.Type != "update" || e.Instance.ID != "runs" {
			t.Fatalf("got %+v", e)
		}
	}
	for range 3 {
		f.want("update", "runs", "running")
	}
}

func TestWhoComesBackIsToldOfRemovals(t *testing.T) {
	m := start(t, Config{poll: time.Hour})
	for _, name := range []string{"a", "b", "c"} {
		m.put(&signalboxv1.Instance{Name: name, Url: oneURL})
	}
	f := m.follow(gatewaytest.Admin)
	var last heard
	for range 4 {
		last = f.next()
	}
	if err := f.conn.Close(); err != nil {
		t.Fatal(err)
	}
	m.ask(204, "DELETE", "/instances/a", "", nil)
	m.ask(204, "DELETE", "/instances/c", "", nil)
	m.put(&signalboxv1.Instance{Name: "c", Url: "client://h:1/h:2"})
	f = m.follow(gatewaytest.Admin, "Last-Event-ID", last.id)
	f.want("initial", keyID, "")
	f.want("initial", "b", "stopped")
	if e := f.want("initial", "c", "stopped"); e.Instance.Type != "client" {
		t.Errorf("got %+v", e.Instance)
	}
	f.want("delete", "a", "stopped")
	for _, id := range []string{"nonsense", "e9.1.0", "e1.1.0", "e1.99999999999999999999.0", "\xff"} {
		f = m.follow(gatewaytest.Admin, "Last-Event-ID", id)
		f.want("initial", keyID, "")
		f.want("initial", "b", "stopped")
	}
}

func TestAResetIsAnsweredWithAllThereIs(t *testing.T) {
	m := start(t, Config{poll: time.Hour})
	m.put(&signalboxv1.Instance{Name: "a", Url: oneURL})
	m.put(&signalboxv1.Instance{Name: "b", Url: oneURL})
	f := m.follow(gatewaytest.Admin)
	for range 3 {
		f.next()
	}
	// The control plane goes away, and what it told meanwhile is forgotten.
	m.cp.Before(func(string) error { return unavailable() })
	m.cp.Break()
	if _, err := m.cp.DeleteInstance(context.Background(), &signalboxv1.DeleteInstanceRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	m.put(&signalboxv1.Instance{Name: "c", Url: oneURL})
	m.cp.Forget()
	m.cp.Before(nil)
	f.want("initial", keyID, "")
	got := []heard{f.next(), f.next(), f.next()}
	slices.SortFunc(got, func(a, b heard) int { return strings.Compare(a.Instance.ID, b.Instance.ID) })
	if got[0].Type != "delete" || got[1].Type != "initial" || got[2].Type != "initial" || got[2].Instance.ID != "c" {
		t.Errorf("got %+v", got)
	}
	m.runs("c", isRunning)
	f.want("update", "c", "running")
}

func TestAKeyThatIsMadeAnewEndsItsStreams(t *testing.T) {
	m := start(t, Config{EndsForGood: true})
	mine, other := m.follow(gatewaytest.Admin), m.follow(gatewaytest.Reader)
	mine.want("initial", keyID, "")
	if e := other.want("initial", keyID, ""); e.Instance.URL != gatewaytest.Reader {
		t.Errorf("another's key is shown: %s", e.Instance.URL)
	}
	var o instance
	m.ask(200, "PATCH", "/instances/********", `{"action":"restart"}`, &o)
	if e, err := mine.try(); !errors.Is(err, io.EOF) {
		t.Errorf("it goes on with %+v, %v", e, err)
	}
	if _, err := m.cp.PutInstance(context.Background(), &signalboxv1.PutInstanceRequest{Instance: &signalboxv1.Instance{Name: "a", Url: oneURL}}); err != nil {
		t.Fatal(err)
	}
	if e := other.want("create", "a", "stopped"); strings.Contains(fmt.Sprint(e), o.URL) {
		t.Error("the new key is told to others")
	}
}

func TestAStreamOutlivesAControlPlane(t *testing.T) {
	m := start(t, Config{poll: 50 * time.Millisecond}) // what is observed meanwhile is no event
	m.put(&signalboxv1.Instance{Name: "a", Url: oneURL})
	f := m.follow(gatewaytest.Admin)
	f.next()
	f.next()
	if err := m.cp.Listeners(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	say := func(text string) {
		m.cp.Say(&signalboxv1.LogLine{Instance: "a", Node: "n", Time: timestamppb.Now(), Text: text})
	}
	say("before")
	if e := f.next(); !strings.HasSuffix(*e.Logs, "before") {
		t.Fatalf("got %+v", e)
	}
	m.cp.Break()
	say("meanwhile")
	m.runs("a", isRunning)
	var texts []string
	for updated := false; !updated || len(texts) < 1; {
		switch e := f.next(); e.Type {
		case "update":
			updated = true
		case "log":
			texts = append(texts, *e.Logs)
		default:
			t.Fatalf("got %+v", e)
		}
	}
	if !strings.HasSuffix(texts[0], "meanwhile") {
		t.Errorf("got %q", texts)
	}
}

func TestLongEventsFitIntoWhatClientsTake(t *testing.T) {
	m := start(t, Config{poll: time.Hour})
	tags := map[string]string{}
	for i := range 64 {
		tags[fmt.Sprintf("%03d%s", i, strings.Repeat("ü", 253))] = strings.Repeat("<", 256)
	}
	m.put(&signalboxv1.Instance{Name: "a", Alias: strings.Repeat("\u0001", 256), Url: oneURL + "?x=" + strings.Repeat("&", 4000), Tags: tags})
	f := m.follow(gatewaytest.Admin)
	f.next()
	check := func(kind string) string {
		t.Helper()
		b, err := f.block()
		if err != nil || len(b) > 64<<10 || !strings.Contains(b, `"type":"`+kind+`"`) || !strings.Contains(b, `"id":"a"`) {
			t.Fatalf("%v, %d bytes: %.200s", err, len(b), b)
		}
		return b
	}
	check("initial")
	if err := m.cp.Listeners(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	m.cp.Say(&signalboxv1.LogLine{Instance: "a", Time: timestamppb.Now(), Text: strings.Repeat("\u0002", 100_000)})
	if !strings.Contains(check("log"), "…") {
		t.Error("that it was cut is not said")
	}
}

// A panel of Dash's kind reads with a scanner that ends at 64 KiB, sends ids
// back, and ends when alias, meta or logs are missing. See docs/nodepass.md.
func TestDashCanRead(t *testing.T) {
	m := start(t, Config{poll: 20 * time.Millisecond, most: 50 * time.Millisecond})
	m.put(whole())
	f := m.follow(gatewaytest.Admin)
	if err := m.cp.Listeners(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	m.runs("c03c5467", isRunning)
	m.cp.Say(&signalboxv1.LogLine{Instance: "c03c5467", Time: timestamppb.Now(), Text: strings.Repeat("x", 10_000)})
	in := bufio.NewScanner(f.body)
	in.Buffer(make([]byte, 0, 4096), 64<<10)
	in.Split(func(data []byte, _ bool) (int, []byte, error) {
		if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
			return i + 2, data[:i], nil
		}
		return 0, nil, nil
	})
	kinds := map[string]int{}
	for kinds["update"] < 2 || kinds["log"] < 1 {
		if !in.Scan() {
			t.Fatalf("the reader ended: %v", in.Err())
		}
		var payload []byte
		for l := range bytes.SplitSeq(in.Bytes(), []byte("\n")) {
			if d, ok := bytes.CutPrefix(l, []byte("data:")); ok {
				payload = append(payload, bytes.TrimSpace(d)...)
			}
		}
		if payload == nil {
			kinds["without data"]++
			continue
		}
		var e struct {
			Type     string
			Instance *struct {
				Type  *string
				Alias *string
				Meta  *struct{ Tags *map[string]string }
			}
			Logs *string
		}
		if err := json.Unmarshal(payload, &e); err != nil || e.Logs == nil || e.Instance == nil || e.Instance.Type == nil || e.Instance.Alias == nil || e.Instance.Meta == nil || e.Instance.Meta.Tags == nil {
			t.Fatalf("Dash would end: %v, %s", err, payload)
		}
		if *e.Instance.Type == "" {
			kinds["the key"]++
		}
		kinds[e.Type]++
	}
	if kinds["the key"] != 1 || kinds["without data"] != 1 {
		t.Errorf("got %v", kinds)
	}
}

// The document's own client: blocks between blank lines, and two expressions.
func TestTheDocumentsClientCanRead(t *testing.T) {
	m := start(t, Config{poll: time.Hour})
	m.put(whole())
	f := m.follow(gatewaytest.Admin)
	var buffer string
	var types []string
	event, data := regexp.MustCompile(`(?m)^event: (.+)$`), regexp.MustCompile(`(?m)^data: (.+)$`)
	piece := make([]byte, 100)
	for len(types) < 2 {
		n, err := f.body.Read(piece)
		if err != nil {
			t.Fatal(err)
		}
		buffer += string(piece[:n])
		blocks := strings.Split(buffer, "\n\n")
		buffer = blocks[len(blocks)-1]
		for _, b := range blocks[:len(blocks)-1] {
			kind, payload := event.FindStringSubmatch(b), data.FindStringSubmatch(b)
			if kind == nil || payload == nil {
				continue
			}
			var e heard
			if err := json.Unmarshal([]byte(payload[1]), &e); err != nil || kind[1] != "instance" {
				t.Fatalf("%q: %v", b, err)
			}
			types = append(types, e.Type+" "+e.Instance.ID)
		}
	}
	if fmt.Sprint(types) != "[initial ******** initial c03c5467]" {
		t.Errorf("got %v", types)
	}
}

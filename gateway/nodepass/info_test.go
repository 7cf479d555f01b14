package nodepass

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"signalbox/gateway/gatewaytest"
	"signalbox/proto/tunnelurl"
)

func TestInfoIsInOrderOfNames(t *testing.T) {
	m := start(t, Config{
		Name: "127.0.0.1", TLS: "2", CertFile: "/c", KeyFile: "/k", Alias: "first", Defaults: tunnelurl.Defaults{Log: "debug"},
	})
	res := m.send("GET", "/api/v1/info", gatewaytest.Admin, "")
	dec := json.NewDecoder(strings.NewReader(res.body))
	var names []string
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := tok.(string); ok {
			names = append(names, name)
			if _, err := dec.Token(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.IsSorted(names) || len(names) != 21 {
		t.Errorf("got %v", names)
	}
	var got struct {
		Alias, Arch, Crt, Key, Log, MID, Name, OS, TLS, Ver string
		Uptime                                              *uint64
		MemTotal                                            uint64 `json:"mem_total"`
		MemUsed                                             uint64 `json:"mem_used"`
		SysUp                                               uint64
	}
	if err := json.Unmarshal([]byte(res.body), &got); err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprintln(got.Alias, got.Arch, got.Crt, got.Key, got.Log, got.Name, got.OS, got.TLS, got.Ver)
	if said != fmt.Sprintln("first", runtime.GOARCH, "/c", "/k", "debug", "127.0.0.1", runtime.GOOS, "2", "v1.14.0") || got.Uptime == nil {
		t.Errorf("got %s", res.body)
	}
	if !regexp.MustCompile("^[0-9a-f]{16}$").MatchString(got.MID) {
		t.Errorf("the master's id is %q", got.MID)
	}
	if runtime.GOOS == "linux" && (got.MemTotal == 0 || got.MemUsed == 0 || got.MemUsed > got.MemTotal || got.SysUp == 0) {
		t.Errorf("of the machine is said %s", res.body)
	}
}

func TestTheMasterCanBeRenamed(t *testing.T) {
	m := start(t, Config{})
	var got struct{ Alias, MID string }
	m.ask(200, "POST", "/info", `{"alias":"here"}`, &got)
	if got.Alias != "here" {
		t.Errorf("got %+v", got)
	}
	m.ask(400, "POST", "/info", `x`, nil)
	m.ask(400, "POST", "/info", `{"alias":"`+strings.Repeat("x", 257)+`"}`, nil)
	mid := got.MID
	m.ask(200, "GET", "/info", "", &got)
	if got.Alias != "here" || got.MID != mid {
		t.Errorf("got %+v", got)
	}
}

func TestTCPing(t *testing.T) {
	m := start(t, Config{})
	var c net.ListenConfig
	ln, err := c.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := ln.Addr().String()
	res := m.send("GET", "/api/v1/tcping?target="+open, gatewaytest.Admin, "")
	if !regexp.MustCompile(`^\{"target":"` + open + `","connected":true,"latency":\d+,"error":null\}` + "\n$").MatchString(res.body) {
		t.Errorf("got %d %s", res.code, res.body)
	}
	_ = ln.Close()
	res = m.send("GET", "/api/v1/tcping?target="+open, gatewaytest.Admin, "")
	if res.code != 200 || !strings.Contains(res.body, `"connected":false,"latency":0,"error":"`) {
		t.Errorf("got %d %s", res.code, res.body)
	}
	m.ask(400, "GET", "/tcping", "", nil)
	for range maxPings {
		m.h.pings <- struct{}{}
	}
	if res := m.send("GET", "/api/v1/tcping?target="+open, gatewaytest.Admin, ""); !strings.Contains(res.body, "too many") {
		t.Errorf("got %s", res.body)
	}
}

// The description and the page need no key, and nothing from elsewhere.
func TestDocsNeedNoKey(t *testing.T) {
	m := start(t, Config{Prefixes: []string{"/admin", "/api"}})
	for _, base := range []string{"/admin", "/admin/v1", "/api", "/api/v1"} {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD"} {
			for path, kind := range map[string]string{
				"/openapi.json": "application/json", "/docs": "text/html; charset=utf-8", "/docs/page.js": "text/javascript; charset=utf-8",
			} {
				res := m.send(method, base+path, "", "")
				if res.code != 200 || res.header.Get("Content-Type") != kind || res.header.Get("Access-Control-Allow-Origin") != "*" || (res.body == "") != (method == "HEAD") {
					t.Errorf("%s %s: got %d %v", method, base+path, res.code, res.header)
				}
			}
		}
		page := m.send("GET", base+"/docs", "", "")
		for _, ref := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
			if res := m.send("GET", base+"/"+ref[1], "", ""); res.code != 200 {
				t.Errorf("the page refers to %s, which is %d", ref[1], res.code)
			}
		}
		if !strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("browsers may load from elsewhere: %v", page.header)
		}
		var d struct {
			OpenAPI string
			Servers []struct{ URL string }
			Paths   map[string]map[string]json.RawMessage
		}
		if err := json.Unmarshal([]byte(m.send("GET", base+"/openapi.json", "", "").body), &d); err != nil || d.OpenAPI != "3.1.1" || d.Servers[0].URL != base {
			t.Errorf("got %v, %+v", err, d.Servers)
		}
		for path, methods := range d.Paths {
			actions, _, known := m.h.actions(strings.ReplaceAll(path, "{id}", "x"))
			if !known {
				t.Errorf("%s is described, and not there", path)
			}
			for method := range actions {
				if _, ok := methods[strings.ToLower(method)]; !ok {
					t.Errorf("%s %s is not described", method, path)
				}
			}
		}
	}
}

// Every reference in the description leads to something in it.
func TestTheDescriptionIsWhole(t *testing.T) {
	var d struct {
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal([]byte(description), &d); err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`"#/components/schemas/(\w+)"`).FindAllStringSubmatch(description, -1) {
		if d.Components.Schemas[ref[1]] == nil {
			t.Errorf("%s is not there", ref[1])
		}
	}
	var shown struct{ Required []string }
	if err := json.Unmarshal(d.Components.Schemas["Instance"], &shown); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(object(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range shown.Required {
		if !strings.Contains(string(b), `"`+name+`":`) {
			t.Errorf("an instance has no %s", name)
		}
	}
	if len(shown.Required) != 17 {
		t.Errorf("%d fields are described", len(shown.Required))
	}
}

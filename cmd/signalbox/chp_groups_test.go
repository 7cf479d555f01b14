package main

// The reasons why we answer otherwise than configurable-http-proxy.
const (
	keyFirst   = "strangers are turned away before anything of theirs is read"
	whoAnswers = "CHP's documentation has an entry for it"
	hangs      = "CHP never answers"
	unusable   = "whoever writes a target that no proxy could use should hear of it"
	typed      = "no other API is to be mistaken for CHP's"
	properties = "these are paths; that CHP fails is an accident"
	asMatched  = "what is matched is what is forwarded"
	badHead    = "a malformed request is the client's doing: 400"
	noUpgrade  = "who cannot switch protocols goes on with the one there is (RFC 9110, section 7.8); CHP closes the connection without a word"
	othersAPIs = "a cluster's gateway has other APIs beside"
)

// chpGroups are all rows, in groups that one proxy is started for.
func chpGroups() []chpGroup {
	routes := []string{
		"/ http://{A}", "/a http://{B}", "/user http://{C}", "/user/alice http://{D}", "/user/alice/deep/er http://{B}",
		"/user/foo%40bar http://{B}", "/user/b%20c http://{B}", "/user/%E4%BD%A0 http://{B}",
	}
	return append(chpDifferences(), []chpGroup{
		{name: "the API's statuses", rows: chpAPI()},
		{name: "keys", rows: chpKeys()},
		{name: "what was inactive", routes: []string{"/one http://{A}"}, rows: chpInactive()},
		{name: "matching", routes: routes, rows: chpMatching()},
		{name: "paths", routes: []string{"/bar http://{B}", "/foo http://{B}/foo", "/s http://{B}/foo/", "/q http://{B}/foo?k=v", "/n http://{B}?k=v", "/ http://{B}/foo"}, rows: []chpRow{
			{ask: "GET /bar/x", status: 200, body: "~B GET /bar/x\n"},
			{ask: "GET /foo/x", status: 200, body: "~B GET /foo/foo/x\n"},
			{ask: "GET /foo", status: 200, body: "~B GET /foo/foo\n"},
			{ask: "GET /s/x", status: 200, body: "~B GET /foo/s/x\n"},
			{ask: "GET /q?q=1", status: 200, body: "~B GET /foo/q?k=v&q=1\n"},
			{ask: "GET /n", status: 200, body: "~B GET /n?k=v\n"},
			{ask: "GET /", status: 200, body: "~B GET /foo/\n"},
			{ask: "GET /x", status: 200, body: "~B GET /foo/x\n"},
		}},
		{name: "paths without the target's", args: []string{"--no-prepend-path"}, routes: []string{"/bar http://{B}", "/q http://{B}/foo?k=v", "/s http://{B}/foo/"}, rows: []chpRow{
			{ask: "GET /bar/x", status: 200, body: "~B GET /bar/x\n"},
			{ask: "GET /q?q=1", status: 200, body: "~B GET /q?q=1\n"},
			{ask: "GET /s/x", status: 200, body: "~B GET /s/x\n"},
		}},
		{name: "paths without the prefix", args: []string{"--no-include-prefix"}, routes: []string{"/bar http://{B}", "/q http://{B}/foo?k=v", "/s http://{B}/foo/", "/b%40r/b%20r http://{B}"}, rows: []chpRow{
			{ask: "GET /bar/x", status: 200, body: "~B GET /x\n"},
			{ask: "GET /q?q=1", status: 200, body: "~B GET /foo?k=v&q=1\n"},
			{ask: "GET /s/x", status: 200, body: "~B GET /foo/x\n"},
			{ask: "GET /b%40r/b%20r/x", status: 200, body: "~B GET /x\n", ours: "CHP cuts an encoded path by the length of a decoded one", theirs: 200, their: chpAnswer{body: "~B GET /%20r/x\n"}},
		}},
		{name: "paths with neither", args: []string{"--no-include-prefix", "--no-prepend-path"}, routes: []string{"/bar http://{B}/foo?k=v"}, rows: []chpRow{
			{ask: "GET /bar/x", status: 200, body: "~B GET /x\n"},
			{ask: "GET /bar", status: 200, body: "~B GET /\n"},
			{ask: "GET /bar?q=1", status: 200, body: "~B GET /?q=1\n"},
		}},
		{name: "hosts", args: []string{"--host-routing"}, routes: []string{"/ http://{A}", "/h.example http://{B}", "/h.example/user http://{C}"}, rows: []chpRow{
			{ask: "GET /x|Host: h.example", status: 200, body: "~B GET /x\n"},
			{ask: "GET /user/x|Host: h.example:8000", status: 200, body: "~C GET /user/x\n"},
			{ask: "GET /x|Host: other.example", status: 200, body: "~A GET /x\n"},
			{ask: "GET /x|Host: H.EXAMPLE", status: 200, body: "~B GET /x\n", ours: "names of hosts are the same in either case", theirs: 200, their: chpAnswer{body: "~A GET /x\n"}},
			{ask: "GET /api/routes/h.example", status: 200, body: `{"target":"http://{B}","host":"h.example","last_activity":"TIME"}`},
			{ask: "DELETE /api/routes/h.example", status: 204, body: ""},
			{ask: "GET /x|Host: h.example", status: 200, body: "~A GET /x\n"},
			{ask: "GET /user|Host: h.example", status: 200, body: "~C GET /user\n"},
		}},
		{name: "headers", routes: []string{"/a http://{A}"}, rows: chpHeaders()},
		{name: "headers that are left alone", args: []string{"--no-x-forward"}, routes: []string{"/a http://{A}"}, rows: []chpRow{
			{ask: "GET /a|Host: me.example", status: 200, body: "A GET /a\nhost: me.example\n"},
			{ask: "GET /a|Host: me.example|X-Forwarded-For: 1.2.3.4|X-Forwarded-Proto: https", status: 200, body: "A GET /a\nhost: me.example\nx-forwarded-for: 1.2.3.4\nx-forwarded-proto: https\n"},
		}},
		{name: "headers that are set", args: []string{"--no-x-forward", "--change-origin", "--custom-header", "X-Custom: one", "--custom-header=X-Custom:two"}, routes: []string{"/a http://{A}"}, rows: []chpRow{
			{ask: "GET /a|Host: me.example|X-Custom: mine", status: 200, body: "A GET /a\nhost: {A}\nx-custom: two\n"},
		}},
		{name: "WebSockets", routes: []string{"/a http://{A}", "/dead http://{dead}"}, rows: []chpRow{
			{ask: "GET /a/ws?q=1" + webSocket, status: 101, body: "", header: "X-Path: /a/ws?q=1"},
			{ask: "GET /a/ws" + webSocket + "|Sec-WebSocket-Protocol: v1", status: 101, body: "", header: "Sec-Websocket-Protocol: v1"},
			{ask: "GET /a/ws" + webSocket, status: 101, body: "", header: "X-Proto: http", ours: "upstreams look for http or https", theirs: 101, their: chpAnswer{header: "X-Proto: ws"}},
			{ask: "GET /a?status=403" + webSocket, status: 403, body: "~A GET /a", end: isClosed},
			{ask: "GET /a?status=200" + webSocket, status: 200, body: "~A GET /a", end: isClosed},
			{ask: "POST /a/ws" + webSocket, status: 200, body: "~A POST /a/ws\n", ours: noUpgrade, their: chpAnswer{end: isClosed}},
			{ask: "GET /a|Connection: Upgrade|Upgrade: h2c", status: 200, body: "~A GET /a\n", ours: noUpgrade, their: chpAnswer{end: isClosed}},
			{ask: "GET /none" + webSocket, status: 404, body: "-", end: isClosed, ours: leftOpen, theirs: 404, their: chpAnswer{end: isLeft}},
			{ask: "GET /dead" + webSocket, status: 503, body: "-"},
			{ask: "GET /a/%zz" + webSocket, status: 400, body: "-", end: isClosed, ours: badHead, theirs: 500, their: chpAnswer{end: isLeft}},
			{ask: "GET /_chp_healthz" + webSocket, status: 200, body: "-", ours: "who asks whether it is well may ask anyhow", theirs: 404},
		}},
		{name: "failures", routes: []string{"/dead http://{dead}", "/a http://{A}"}, rows: []chpRow{
			{ask: "GET /none", status: 404, body: "~404: Not Found", header: "Content-Type: text/html"},
			{ask: "POST /none||x", status: 404, body: "~404: Not Found"},
			{ask: "HEAD /none", status: 404, body: "", header: "Content-Type: text/html"},
			{ask: "GET /dead/x", status: 503, body: "~503: Proxy Target Missing", header: "Content-Type: text/html"},
			{ask: "GET /a/%zz", status: 400, body: "-", ours: badHead, theirs: 500},
			{ask: "GET /a/%E4", status: 200, body: "~A GET /a/%E4\n", ours: "a path may be any bytes, and is forwarded as it is", theirs: 500},
			{ask: "GET /_chp_healthz", status: 200, body: `{"status":"OK"}`, header: "Content-Type: application/json"},
			{ask: "DELETE /_chp_healthz", status: 200, body: `{"status":"OK"}`},
			{ask: "GET /_chp_healthz?x", status: 404, body: "-"},
			{ask: "GET /_chp_healthz/", status: 404, body: "-"},
			{ask: "GET /a?status=500", status: 500, body: "~A GET"},
			{ask: "GET /a?status=599&phrase=Custom%20Reason", status: 599, body: "", header: ":reason: Custom Reason"},
			{ask: "GET /a?status=200&phrase=Fine", status: 200, body: "", header: ":reason: Fine"},
			{ask: "GET /a?status=204", status: 204, body: ""},
			{ask: "GET /a?status=304", status: 304, body: ""},
		}},
		{name: "pages in a directory", args: []string{"--error-path", "{pages}"}, routes: []string{"/dead http://{dead}"}, rows: []chpRow{
			{ask: "GET /none", status: 404, body: "<p>my 404</p>", header: "Content-Type: text/html"},
			{ask: "GET /dead", status: 503, body: "<p>my error</p>", header: "Content-Type: text/html"},
			{ask: "HEAD /none", status: 404, body: ""},
		}},
		{name: "pages that are not there", args: []string{"--error-path", "{pages}/none"}, routes: []string{"/dead http://{dead}"}, rows: []chpRow{
			{ask: "GET /none", status: 404, body: "Not Found"},
			{ask: "GET /dead", status: 503, body: "Service Unavailable"},
		}},
		{name: "pages of an error target", args: []string{"--error-target", "http://{E}/errs"}, routes: []string{"/dead http://{dead}"}, rows: []chpRow{
			{ask: "GET /user/x%20y?a=1&b=2|Cookie: secret", status: 404, body: "PAGE GET /errs/404?url=%2Fuser%2Fx%2520y%3Fa%3D1%26b%3D2\nhost: {E}\n", header: "Content-Type: text/x-echo"},
			{ask: "POST /none||text", status: 404, body: "PAGE GET /errs/404?url=%2Fnone\nhost: {E}\n"},
			{ask: "GET /dead/x", status: 503, body: "PAGE GET /errs/503?url=%2Fdead%2Fx\nhost: {E}\n"},
			{ask: "GET /none" + webSocket, status: 404, body: "-"},
		}},
		{name: "an error target that is down", args: []string{"--error-target", "http://{dead}"}, rows: []chpRow{
			{ask: "GET /none", status: 404, body: "Not Found"},
		}},
		{name: "redirections", routes: []string{"/a http://{A}"}, rows: []chpRow{
			{ask: "GET /a?status=302&location=http://{A}/w", status: 302, body: "-", header: "Location: http://{A}/w"},
		}},
		{name: "redirections of host", args: []string{"--auto-rewrite"}, routes: []string{"/a http://{A}"}, rows: chpLocations("http://")},
		{name: "redirections of host and scheme", args: []string{"--auto-rewrite", "--protocol-rewrite", "https"}, routes: []string{"/a http://{A}"}, rows: chpLocations("https://")},
		{name: "redirections of scheme", args: []string{"--protocol-rewrite=https"}, routes: []string{"/a http://{A}"}, rows: []chpRow{
			{ask: "GET /a?status=302&location=http://{A}/w|Host: pub.example:81", status: 302, body: "-", header: "Location: https://{A}/w"},
		}},
		{name: "time", args: []string{"--proxy-timeout", "300"}, routes: []string{"/a http://{A}"}, rows: []chpRow{
			{ask: "GET /a?sleep=50", status: 200, body: "~A GET"},
			{ask: "GET /a?sleep=1500", status: 503, body: "~503"},
			{ask: "GET /a/ws?sleep=1000" + webSocket, status: 101, body: "", header: "X-Path: /a/ws?sleep=1000"},
		}},
		{name: "time of clients", args: []string{"--timeout=300"}, routes: []string{"/a http://{A}"}, rows: []chpRow{
			{ask: "GET /a?sleep=1500", status: 503, body: "~503", ours: "a client should hear of it", their: chpAnswer{end: isClosed}},
		}},
		{name: "a default target", args: []string{"--default-target", "http://{A}"}, routes: []string{"/b http://{B}"}, rows: []chpRow{
			{ask: "GET /x", status: 200, body: "~A GET /x\n"},
			{ask: "GET /b", status: 200, body: "~B GET /b\n"},
			{ask: "GET /api/routes", status: 200, body: `{"/":{"target":"http://{A}","last_activity":"TIME"},"/b":{"target":"http://{B}","last_activity":"TIME"}}`},
			{ask: "POST /api/routes||{\"target\":\"http://{C}\"}", status: 201, body: ""},
			{ask: "GET /x", status: 200, body: "~C GET /x\n"},
			{ask: "DELETE /api/routes/", status: 204, body: ""},
			{ask: "GET /x", status: 404, body: "-"},
			{ask: "DELETE /api/routes/", status: 404, body: ""},
		}},
		{name: "no token", args: []string{"no-token"}, alone: "a cluster always has keys", rows: []chpRow{
			{ask: "POST /api/routes/x|Authorization: none||{\"target\":\"http://{A}\"}", status: 201, body: ""},
			{ask: "GET /api/routes|Authorization: none", status: 200, body: `{"/x":{"target":"http://{A}","last_activity":"TIME"}}`},
			{ask: "GET /x", status: 200, body: "~A GET /x\n"},
			{ask: "GET /api/routes|Authorization: token anything", status: 200, body: "~/x"},
			{ask: "GET /api/routes|Authorization: Bearer anything", status: 200, body: "~/x"},
			{ask: "GET /api/routes|Authorization: none|X-API-Key: anything", status: 200, body: "~/x"},
			{ask: "DELETE /api/routes/x|Authorization: none", status: 204, body: ""},
			{ask: "API GET /v1/keys|Authorization: none", status: 401, body: "-", ours: "only the API of routes is open", theirs: 404},
		}},
	}...)
}

const webSocket = "|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

// chpMatching are requests, and which upstream sees what of them.
func chpMatching() []chpRow {
	var rows []chpRow
	for _, m := range [][3]string{
		{"/ab", "A", ""}, {"/user/alicex", "C", ""}, {"/user/alice/deep/erx", "D", ""}, {"/A", "A", ""}, {"/users", "A", ""},
		{"/user/alice", "D", ""}, {"/user/alice/", "D", ""}, {"/user/alice/lab?x=/a", "D", ""},
		{"/user%2Falice/x", "D", ""}, {"/user/%61lice/x", "D", ""}, {"/user/foo@bar/x", "B", ""}, {"/user/foo%40bar/x", "B", ""},
		{"/user/b%20c/x", "B", ""}, {"/user/%E4%BD%A0/x", "B", ""}, {"/user/%e4%bd%a0/x", "B", ""},
		{"/user//alice", "C", ""}, {"/a//b", "B", ""}, {"/user/alice;v=1", "C", ""}, {"/user/alice/deep/er/x", "B", ""},
		{"/user/bob/../alice/x", "D", "/user/alice/x"}, {"/user/bob/%2e%2e/alice/x", "D", "/user/alice/x"}, {"/../../a", "B", "/a"},
		{"/user/alice/..", "C", "/user/"}, {`/user\alice`, "D", "/user/alice"}, {"http://other/user/alice/abs", "D", "/user/alice/abs"},
		{"/a?x=%zz", "B", "/a?x=%zz"}, {"/a/'[]~^", "B", "/a/'[]~^"},
	} {
		if m[2] == "" {
			m[2] = m[0]
		}
		rows = append(rows, chpRow{ask: "GET " + m[0], status: 200, body: "~" + m[1] + " GET " + m[2] + "\n"})
	}
	for _, name := range []string{"constructor", "toString", "__proto__", "user/alice/valueOf", "a/hasOwnProperty"} {
		rows = append(rows, chpRow{ask: "GET /" + name, status: 200, body: "~ GET /" + name + "\n", ours: properties, theirs: 500})
	}
	return append(rows,
		chpRow{ask: "GET //x/user/alice", status: 200, body: "~A GET //x/user/alice\n", ours: asMatched, theirs: 200, their: chpAnswer{body: "~D GET //x/user/alice\n"}},
		chpRow{ask: "GET /a b", status: 400, body: "-"},
		chpRow{ask: "GET /a#frag", status: 400, body: "-", ours: badHead, theirs: 200},
		chpRow{ask: "CONNECT h:1", status: 405, body: "-", ours: wordless, their: chpAnswer{end: isClosed}},
		chpRow{ask: "DELETE /api/routes/user/alice", status: 204, body: ""},
		chpRow{ask: "GET /user/alice/x", status: 200, body: "~C GET /user/alice/x\n"},
		chpRow{ask: "GET /user/alice/deep/er/x", status: 200, body: "~B GET"},
		chpRow{ask: "DELETE /api/routes/user", status: 204, body: ""},
		chpRow{ask: "GET /user/alice/x", status: 200, body: "~A GET /user/alice/x\n"},
	)
}

func chpHeaders() []chpRow {
	return []chpRow{
		{ask: "GET /a/x", status: 200, header: "Connection: keep-alive",
			body: "A GET /a/x\nhost: {public}\nx-forwarded-for: 127.0.0.1\nx-forwarded-port: {port}\nx-forwarded-proto: http\nx-forwarded-host: {public}\n"},
		{ask: "GET /a/x|Host: me.example", status: 200,
			body: "A GET /a/x\nhost: me.example\nx-forwarded-for: 127.0.0.1\nx-forwarded-port: 80\nx-forwarded-proto: http\nx-forwarded-host: me.example\n"},
		{ask: "GET /a/x|Host: me.example|X-Forwarded-For: 1.2.3.4", status: 200, body: "~x-forwarded-for: 1.2.3.4, 127.0.0.1\n", ours: "RFC 9110 has a space there", theirs: 200, their: chpAnswer{body: "~x-forwarded-for: 1.2.3.4,127.0.0.1\n"}},
		{ask: "GET /a/x|Host: me.example|X-Forwarded-Proto: https|X-Forwarded-Port: 443|X-Forwarded-Host: first.example", status: 200,
			body: "~x-forwarded-port: 443\nx-forwarded-proto: https\nx-forwarded-host: first.example\n", ours: "CHP's \"https,http\" breaks upstreams that compare", theirs: 200,
			their: chpAnswer{body: "~x-forwarded-port: 443,80\nx-forwarded-proto: https,http\nx-forwarded-host: first.example\n"}},
		{ask: "GET /a/x|X-Forwarded-Host: first.example", status: 200, body: "~x-forwarded-host: first.example\n"},
		{ask: "GET /a/x|Cookie: a=1|Cookie: b=2", status: 200, body: "~cookie: a=1; b=2\n"},
		{ask: "GET /a/x|X_Odd.Name: 1", status: 200, body: "~x_odd.name: 1\n"},
		{ask: "POST /a/x||hello", status: 200, body: "~body: hello\n"},
		{ask: "PUT /a/x|Connection: close||hello", status: 200, body: "~A PUT /a/x\n", header: "Connection: close"},
		{ask: "DELETE /a/x", status: 200, body: "~A DELETE /a/x\n"},
		{ask: "PROPFIND /a/x", status: 200, body: "~A PROPFIND /a/x\n"},
		{ask: "GET /none", status: 404, body: "-", header: "Connection: keep-alive"},
		{ask: "GET /a?status=299", status: 299, body: "-", header: "!Server"},
	}
}

// chpLocations are the redirections of an upstream that are rewritten.
func chpLocations(scheme string) []chpRow {
	at := func(status, location string) string {
		return "GET /a?status=" + status + "&location=" + location + "|Host: pub.example:81"
	}
	var rows []chpRow
	for _, status := range []string{"201", "301", "302", "307", "308"} {
		n := int(status[0]-'0')*100 + int(status[1]-'0')*10 + int(status[2]-'0')
		rows = append(rows, chpRow{ask: at(status, "http://{A}/w"), status: n, body: "-", header: "Location: " + scheme + "pub.example:81/w"})
	}
	return append(rows,
		chpRow{ask: at("303", "http://{A}/w"), status: 303, body: "-", header: "Location: " + scheme + "pub.example:81/w", ours: "303 redirects as the others do", theirs: 303,
			their: chpAnswer{header: "Location: http://{A}/w"}},
		chpRow{ask: at("302", "http://{A}"), status: 302, body: "-", header: "Location: " + scheme + "pub.example:81/"},
		chpRow{ask: at("302", "http://{A}?q"), status: 302, body: "-", header: "Location: " + scheme + "pub.example:81/?q"},
		chpRow{ask: at("302", "/relative"), status: 302, body: "-", header: "Location: /relative"},
		chpRow{ask: at("302", "http://elsewhere.example/w"), status: 302, body: "-", header: "Location: http://elsewhere.example/w"},
		chpRow{ask: at("200", "http://{A}/w"), status: 200, body: "-", header: "Location: http://{A}/w"},
		chpRow{ask: "GET /a?status=302&location=http://{A}/w|Host: pub.example", status: 302, body: "-", header: "Location: " + scheme + "pub.example/w",
			ours: "CHP keeps the upstream's port", theirs: 302, their: chpAnswer{header: "Location: " + scheme + "pub.example:{Aport}/w"}},
	)
}

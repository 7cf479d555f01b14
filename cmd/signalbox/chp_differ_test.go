package main

// More reasons why we answer otherwise.
const (
	leftOpen   = "CHP leaves the connection open and silent"
	asItCame   = "bytes of a path go on as they came"
	oneReading = "no two servers may read one request in two ways"
	wordless   = "CHP closes the connection without a word"
	noEscape   = "a percent sign that begins no escape is read in different ways"
	ownFields  = "it is the connection's own, or a name that servers take for another"
	separate   = "fields go on as they came"
	anyMethod  = "upstreams know more methods than a proxy"
)

// chpDifferences are rows of what is nobody's habit to depend on, and where we
// differ.
func chpDifferences() []chpGroup {
	a := []string{"/ http://{B}", "/a http://{A}"}
	return []chpGroup{
		{name: "heads that differ", routes: a, rows: []chpRow{
			{ask: "GET /a|Host: one.example|Host: two.example", status: 400, body: "-", end: isClosed, ours: oneReading, theirs: 200, their: chpAnswer{body: "~host: one.example\n"}},
			{ask: "GET /a|Host: ", status: 400, body: "-", ours: oneReading, theirs: 200},
			{ask: "GET /a|Host: a b", status: 400, body: "-", header: "X-Content-Type-Options: nosniff", ours: oneReading, theirs: 400, their: chpAnswer{body: "400 Bad Request: malformed Host header"}},
			{ask: "GET *", status: 400, body: "-", ours: "only OPTIONS has that form", theirs: 200, their: chpAnswer{body: "~B GET /*\n"}},
			{ask: "OPTIONS *", status: 200, body: "", ours: "it is forwarded as it is, and Go's servers answer it themselves", theirs: 200, their: chpAnswer{body: "~B OPTIONS /*\n"}},
			{ask: "GET /a?", status: 200, body: "~A GET /a?\n", ours: asItCame, theirs: 200, their: chpAnswer{body: "~A GET /a\n"}},
			{ask: "GET /a/\"<>`{}", status: 200, body: "~A GET /a/\"<>`{}\n", ours: asItCame, theirs: 200, their: chpAnswer{body: "~A GET /a/%22%3C%3E%60%7B%7D\n"}},
			{ask: "FOO /a", status: 200, body: "~A FOO /a\n", ours: anyMethod, theirs: 400},
			{ask: "TRACE /a", status: 405, body: "-", ours: "it shows a page the cookies that scripts are kept from", theirs: 200},
			{ask: "\r\n\r\nGET /a", status: 400, body: "-", ours: oneReading, theirs: 200},
			{ask: "DELETE /a", status: 200, body: "A DELETE /a\nhost: {public}\nx-forwarded-for: 127.0.0.1\nx-forwarded-port: {port}\nx-forwarded-proto: http\nx-forwarded-host: {public}\n",
				ours: separate, theirs: 200, their: chpAnswer{body: "~content-length: 0\n"}},
			{ask: "GET /a|User-Agent: ", status: 200, body: "-", ours: separate, theirs: 200, their: chpAnswer{body: "~user-agent: \n"}},
			{ask: "GET /a|Proxy: x", status: 200, body: "-", ours: ownFields, theirs: 200, their: chpAnswer{body: "~proxy: x\n"}},
			{ask: "GET /a|Te: gzip", status: 200, body: "-", ours: ownFields, theirs: 200, their: chpAnswer{body: "~te: gzip\n"}},
			{ask: "GET /a|Te: trailers", status: 200, body: "~te: trailers\n"},
			{ask: "GET /a|X-Dup: 1|X-Dup: 2", status: 200, body: "~x-dup: 1\nx-dup: 2\n", ours: separate, theirs: 200, their: chpAnswer{body: "~x-dup: 1, 2\n"}},
		}},
		{name: "answers that differ", routes: a, rows: []chpRow{
			{ask: "GET /a?raw=HTTP/1.1%20200%20OK%0D%0ABad%20Name:%20x%0D%0AContent-Length:%201%0D%0A%0D%0Ax", status: 200, body: "x", ours: "it can be read in one way only", theirs: 503},
			{ask: "GET /a?raw=HTTP/1.1%20200%20OK%0AContent-Length:%201%0A%0Ax", status: 200, body: "x", ours: "it can be read in one way only", theirs: 503},
		}},
		{name: "keys and bodies that differ", rows: []chpRow{
			{ask: "POST /api/routes/x%2F..%2Fy||{\"target\":\"http://{A}\"}", status: 400, body: "-", ours: "it is a path that no request has", theirs: 201},
			{ask: "POST /api/routes/x||{\"target\":\"http://{A}\",\"user\":\"\xff\"}", status: 400, body: "-", ours: "JSON is UTF-8; CHP keeps another text than was sent", theirs: 201},
			{ask: "POST /api/routes/x||{\"target\":\"http://{A}/p%zz\"}", status: 400, body: "-", ours: noEscape, theirs: 201},
			{ask: "POST /api/routes/x||{\"target\":\"http://256.1.1.1\"}", status: 400, body: "-", ours: unusable, theirs: 201},
		}},
		{name: "targets", rows: chpTargets()},
		{name: "plain HTTP to https", args: []string{"--ssl-key", "{key}", "--ssl-cert", "{cert}", "--ip", "127.0.0.1", "--redirect-port", "{redirectPort}"}, alone: "its listeners have flags of their own", rows: []chpRow{
			{ask: "GET /x", status: 400, body: "-", ours: wordless, their: chpAnswer{end: isClosed}},
			{ask: "REDIRECT GET /x?y|Host: me.example", status: 301, body: "-", header: "Location: https://me.example:{port}/x?y"},
			{ask: "REDIRECT GET /x HTTP/1.0|" + noHost, status: 400, body: "-", header: "!Location", ours: "the log says why, and the page is as the others", theirs: 400,
				their: chpAnswer{body: "~This server is HTTPS-only on port {port}"}},
		}},
	}
}

// chpTargets are targets as people and templates write them.
func chpTargets() []chpRow {
	var rows []chpRow
	for _, c := range [][2]string{
		{" http://{A} ", "/t"}, {"http:{A}", "/t"}, {"http:\\\\\\\\{A}", "/t"}, {"http://{A}/a b", "/a%20b/t"}, {"http://{A}/\u00e9", "/%C3%A9/t"}, {"http://{A}/a/../b", "/b/t"},
		{"http://127.1:{Aport}", "/t"}, {"http://0x7f000001:{Aport}/x/", "/x/t"}, {"http://u:p@{A}/#f", "/t"}, {"HTTP://{A}", "/t"},
	} {
		rows = append(rows,
			chpRow{ask: `POST /api/routes/t||{"target":"` + c[0] + `"}`, status: 201, body: ""},
			chpRow{ask: "GET /t", status: 200, body: "~A GET " + c[1] + "\n"},
			chpRow{ask: "GET /api/routes/t", status: 200, body: `{"target":"` + c[0] + `","last_activity":"TIME"}`})
	}
	return rows
}

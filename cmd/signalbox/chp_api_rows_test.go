package main

func chpAPI() []chpRow {
	const good = `||{"target":"http://127.0.0.1:1111"}`
	rows := []chpRow{
		{ask: "API GET /", status: 404, body: "Not Found", apart: othersAPIs},
		{ask: "API GET /foo", status: 404, body: "Not Found", apart: othersAPIs},
		{ask: "GET /api/routesX", status: 404, body: "Not Found"},
		{ask: "API GET /api", status: 200, body: "~configurable-http-proxy 5", ours: whoAnswers, theirs: 404},
		{ask: "API GET /api/", status: 200, body: "~configurable-http-proxy 5", ours: whoAnswers, theirs: 404},
		{ask: "GET /api/routes", status: 200, body: "{}", header: "Content-Type: application/json"},
		{ask: "GET /api/routes/", status: 200, body: "{}"},
		{ask: "POST /api/routes/user/foo" + good, status: 201, body: "", header: "!Content-Type"},
		{ask: "GET /api/routes/user/foo", status: 200, body: `{"target":"http://127.0.0.1:1111","last_activity":"TIME"}`, header: "Content-Type: application/json"},
		{ask: "GET /api/routes/user", status: 404, body: ""},
		{ask: "GET /api/routes/user/foo/sub", status: 404, body: ""},
		{ask: `POST /api/routes/user/foo|Content-Type: application/x-www-form-urlencoded||{"user":"ana","n":{"a":[1,2.50]},"target":"http://127.0.0.1:2","jupyterhub":true,"last_activity":"x"}`, status: 201, body: ""},
		{ask: "GET /api/routes", status: 200, body: `~{"/user/foo":{`},
		{ask: "GET /api/routes", status: 200, body: `~"jupyterhub":true`},
		{ask: "POST /api/routes/user/foo" + good, status: 201, body: ""},
		{ask: "GET /api/routes", status: 200, body: `{"/user/foo":{"target":"http://127.0.0.1:1111","last_activity":"TIME"}}`},
		{ask: "DELETE /api/routes/user/foo", status: 204, body: ""},
		{ask: "DELETE /api/routes/user/foo", status: 404, body: ""},
		{ask: "DELETE /api/routes", status: 404, body: "", ours: hangs, their: chpAnswer{end: isLeft}},
		{ask: "DELETE /api/routes/", status: 404, body: ""},
		{ask: "POST /api/routes" + good, status: 201, body: ""},
		{ask: "GET /api/routes/%2F", status: 200, body: "-"},
		{ask: "DELETE /api/routes/", status: 204, body: ""},
		{ask: "GET /api/routes/bad%zz", status: 400, body: "-", ours: hangs, their: chpAnswer{end: isLeft}},
		{ask: "GET /api/routes/bad%E4", status: 400, body: "-", ours: hangs, their: chpAnswer{end: isLeft}},
	}
	for _, body := range []string{"", "{", good[2:] + "x"} {
		rows = append(rows,
			chpRow{ask: "POST /api/routes/x||" + body, status: 400, body: "Body not valid JSON: SyntaxError"},
			chpRow{ask: "POST /api/routes/x|Authorization: token wrong||" + body, status: 403, body: "", ours: keyFirst, theirs: 400})
	}
	for _, body := range []string{"{}", "null", "[]", `"str"`, "5", `{"target":5}`, `{"target":null}`, `{"target":["http://x"]}`} {
		rows = append(rows,
			chpRow{ask: "POST /api/routes/x||" + body, status: 400, body: "Must specify 'target' as string"},
			chpRow{ask: "POST /api/routes/x|Authorization: token wrong||" + body, status: 403, body: ""})
	}
	for _, target := range []string{"", "not a url", "ftp://x/"} {
		rows = append(rows, chpRow{ask: `POST /api/routes/bad||{"target":"` + target + `"}`, status: 400, body: "-", ours: unusable, theirs: 201})
	}
	for _, method := range []string{"PUT", "PATCH", "OPTIONS"} {
		rows = append(rows,
			chpRow{ask: method + " /api/routes/x", status: 405, body: "Method not supported"},
			chpRow{ask: method + " /api/routes|Authorization: none", status: 405, body: "Method not supported"})
	}
	rows = append(rows, chpRow{ask: "HEAD /api/routes", status: 405, body: ""})
	for _, auth := range []string{"none", "token wrong", "Bearer-" + chpToken, "Token " + chpToken, "token" + chpToken, "basic " + chpToken} {
		for _, call := range []string{"GET /api/routes", "GET /api/routes/x", "DELETE /api/routes/x"} {
			rows = append(rows, chpRow{ask: call + "|Authorization: " + auth, status: 403, body: "", header: "!WWW-Authenticate"})
		}
	}
	for _, auth := range []string{"token " + chpToken, "token  " + chpToken, "foo token " + chpToken + " bar"} {
		rows = append(rows, chpRow{ask: "GET /api/routes|Authorization: " + auth, status: 200, body: "-"})
	}
	return append(rows,
		chpRow{ask: "GET /api/routes|Authorization: Bearer " + chpToken, status: 200, body: "-", ours: "that is how keys are sent today", theirs: 403},
		chpRow{ask: "GET /api/routes?token=" + chpToken + "|Authorization: none", status: 403, body: ""})
}

// chpKeys are paths and the keys they become.
func chpKeys() []chpRow {
	var rows []chpRow
	for _, k := range [][2]string{
		{"", "/"}, {"/", "/"}, {"//", "/"}, {"/tr/", "/tr"}, {"/a//b", "/a//b"}, {"/user/foo%40bar", "/user/foo@bar"}, {"/user/b%20c", "/user/b c"},
		{"/user/%2Fslash", "/user//slash"}, {"/user%2Fjoined", "/user/joined"}, {"/user/up%41case", "/user/upAcase"}, {"/UPPER", "/UPPER"},
		{"/user/%E4%BD%A0%E5%A5%BD", "/user/你好"}, {"/user/q%3Fx", "/user/q?x"}, {"/user/h%23x", "/user/h#x"}, {"/user/q?x=1", "/user/q"},
		{"/user/plus+sign", "/user/plus+sign"}, {"/dots/../up", "/up"}, {"/dots/%2e%2e/up2", "/up2"}, {"/pct/%25", "/pct/%"}, {"/semi;v=1", "/semi;v=1"},
		{"/user/~x'()", "/user/~x'()"},
	} {
		rows = append(rows,
			chpRow{ask: "POST /api/routes" + k[0] + `||{"target":"http://127.0.0.1:1"}`, status: 201, body: ""},
			chpRow{ask: "GET /api/routes", status: 200, body: `{"` + k[1] + `":{"target":"http://127.0.0.1:1","last_activity":"TIME"}}`})
		if k[0] == "" {
			k[0] = "/" // CHP does not answer otherwise
		}
		rows = append(rows, chpRow{ask: "DELETE /api/routes" + k[0], status: 204, body: ""})
	}
	return rows
}

func chpInactive() []chpRow {
	const all, none = "~/one", "{}"
	var rows []chpRow
	for _, q := range [][2]string{
		{"inactive_since=2000-01-01T00:00:00Z", none}, {"inactiveSince=2000-01-01T00:00:00Z", none}, {"inactive_since=2099", all}, {"inactiveSince=2099-01-01", all},
		{"inactive_since=1", none}, {"inactive_since=0", none}, {"inactiveSince=", all}, {"INACTIVE_SINCE=bad", all}, {"foo=bar", all},
		{"inactiveSince=2099&inactive_since=2000", all}, {"inactiveSince=2000&inactive_since=2099", none}, {"inactive_since=Tue,%2001%20Jan%202000", none},
		{"inactive_since=2099-02-30", all}, {"inactive_since=2099-02-28T24:00:00Z", all}, {"inactive_since=2000-02-30T00:00:00Z", none}, {"inactive%5fsince=2000", none},
	} {
		rows = append(rows, chpRow{ask: "GET /api/routes?" + q[0], status: 200, body: q[1]})
	}
	for _, bad := range [][2]string{{"endoftheuniverse", "endoftheuniverse"}, {"%20", " "}, {"2099-13-01T00:00:00Z", "2099-13-01T00:00:00Z"},
		{"2099%zz", "2099%zz"}, {"%E4", "\uFFFD"}, {"2099;x", "2099;x"}, {"%", "%"}} {
		rows = append(rows,
			chpRow{ask: "GET /api/routes?inactive_since=" + bad[0], status: 400, body: "Invalid datestamp '" + bad[1] + "' must be ISO8601."},
			chpRow{ask: "GET /api/routes?inactive_since=" + bad[0] + "|Authorization: none", status: 403, body: ""})
	}
	return append(rows, chpRow{ask: "GET /api/routes/one?inactive_since=bad", status: 200, body: `~"target"`})
}

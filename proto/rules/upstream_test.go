package rules_test

import (
	"strings"
	"testing"

	"signalbox/proto/rules"
)

// An upstream URL is taken apart as it will be used.
func TestParseUpstream(t *testing.T) {
	for raw, want := range map[string]rules.Upstream{
		"http://127.0.0.1:1111":             {Scheme: "http", Host: "127.0.0.1:1111", Address: "127.0.0.1:1111"},
		"http://127.0.0.1:1111/":            {Scheme: "http", Host: "127.0.0.1:1111", Address: "127.0.0.1:1111", Path: "/"},
		"http://Hub.Example/x?a=1;b":        {Scheme: "http", Host: "hub.example", Address: "hub.example:80", Path: "/x", Query: "a=1;b"},
		"HTTP://h:0080?q":                   {Scheme: "http", Host: "h", Address: "h:80", Query: "q"},
		"http://h:/":                        {Scheme: "http", Host: "h", Address: "h:80", Path: "/"},
		"http://user:p%40ss@h:81/x#frag":    {Scheme: "http", Host: "h:81", Address: "h:81", Path: "/x"},
		"http://a@b@h:81/":                  {Scheme: "http", Host: "h:81", Address: "h:81", Path: "/"},
		"http://my_container.net.:9/a%2Fb":  {Scheme: "http", Host: "my_container.net.:9", Address: "my_container.net.:9", Path: "/a%2Fb"},
		"http://h/a%20b/../%E4%BD%A0":       {Scheme: "http", Host: "h", Address: "h:80", Path: "/a%20b/../%E4%BD%A0"},
		"http://[::1]:8080/":                {Scheme: "http", Host: "[::1]:8080", Address: "[::1]:8080", Path: "/"},
		"http://[2001:DB8:0::1]":            {Scheme: "http", Host: "[2001:db8::1]", Address: "[2001:db8::1]:80"},
		"http://[fe80::1%25eth0]:80":        {Scheme: "http", Host: "[fe80::1%eth0]", Address: "[fe80::1%eth0]:80"},
		"https://h":                         {Scheme: "https", Host: "h", Address: "h:443"},
		"https://h:80/x":                    {Scheme: "https", Host: "h:80", Address: "h:80", Path: "/x"},
		"h2c://h:50051":                     {Scheme: "h2c", Host: "h:50051", Address: "h:50051"},
		"http+unix://%2Frun%2Fhub.sock":     {Scheme: "http", Host: "localhost", Address: "/run/hub.sock", Unix: true},
		"unix+http://%2frun%2Fa%40b/p?q":    {Scheme: "http", Host: "localhost", Address: "/run/a@b", Unix: true, Path: "/p", Query: "q"},
		"http+unix://u:p@%2Frun%2Fx#ignore": {Scheme: "http", Host: "localhost", Address: "/run/x", Unix: true},
	} {
		if got, err := rules.ParseUpstream(raw); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", raw, got, err, want)
		}
	}
}

// What is no upstream is refused with the part that is wrong.
func TestParseUpstreamSaysWhatIsWrong(t *testing.T) {
	for raw, names := range map[string]string{
		"":                                   "must begin with",
		"not a url":                          "space",
		"hub:8000":                           "must begin with",
		"//h/":                               "must begin with",
		"ftp://h/":                           "must begin with",
		"ws://h/":                            "must begin with",
		"unix:///run/x":                      "must begin with",
		"https+unix://%2Frun%2Fx":            "must begin with",
		"http://":                            "host: missing",
		"http://:80":                         "host: missing",
		"http:///path":                       "host: missing",
		"http://user@/":                      "host: missing",
		"http://h:0":                         "port",
		"http://h:65536":                     "port",
		"http://h:-1":                        "port",
		"http://h:http":                      "port",
		"http://h:80:80":                     "brackets",
		"http://::1":                         "brackets",
		"http://[::1":                        "]",
		"http://[::1]80":                     "]",
		"http://[127.0.0.1]":                 "IPv6",
		"http://[nonsense]":                  "IPv6",
		"http://h/\n":                        "control",
		"http://h/?a b":                      "space",
		"http://h/%zz":                       "path",
		`http://h\x`:                         "path",
		"http://h/?ä":                        "query",
		"http://ä.example":                   "xn--",
		"http://a%41":                        "host",
		"http://a<b":                         "host",
		"http://a..b":                        "label",
		"http://.a":                          "label",
		"http://" + strings.Repeat("a", 254): "253",
		"http+unix://run":                    "socket path",
		"http+unix://":                       "socket path",
		"http+unix:///run/x":                 "socket path",
		"http+unix://%2Frun%2":               "socket path",
		"http+unix://%2Frun%00":              "socket path",
		"http+unix://%2F" + strings.Repeat("a", 107): "107",
	} {
		if up, err := rules.ParseUpstream(raw); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%q: got %+v, %v, want an error that names %q", raw, up, err, names)
		}
	}
}

// Whatever is accepted can be dialled and put into a request line, and nothing
// repeats a password.
func FuzzParseUpstream(f *testing.F) {
	for _, s := range []string{
		"http://h:80/p?q#f", "https://[::1]:1", "h2c://a.b", "http+unix://%2Fx/y", "http://[fe80::1%25e]", "//", "http://@",
	} {
		f.Add(s, "secret")
	}
	f.Fuzz(func(t *testing.T, raw, password string) {
		if up, err := rules.ParseUpstream(raw); err == nil {
			if up.Address == "" || up.Host == "" || up.Scheme == "" {
				t.Errorf("%q: %+v lacks a part", raw, up)
			}
			if strings.ContainsFunc(up.Host+up.Path+up.Query, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Errorf("%q: %+v cannot stand in a request head", raw, up)
			}
			if up.Path != "" && up.Path[0] != '/' {
				t.Errorf("%q: path %q", raw, up.Path)
			}
		}
		// A password long enough not to be in our own words by chance.
		if len(password) >= 6 && !strings.ContainsAny(password, "/?#\\") {
			_, err := rules.ParseUpstream("http://user:" + password + "@" + raw)
			const words = "want a number from 1 to 65535 has a space or a control character: percent-encode it"
			if err != nil && strings.Contains(err.Error(), password) && !strings.Contains(words, password) && !strings.Contains(raw, password) {
				t.Errorf("the error repeats the password: %v", err)
			}
		}
	})
}

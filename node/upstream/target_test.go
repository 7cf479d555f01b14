package upstream

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for raw, want := range map[string]struct {
		target Target
		host   string
		path   string
		query  string
	}{
		"http://127.0.0.1:1111":             {Target{Network: "tcp", Address: "127.0.0.1:1111"}, "127.0.0.1:1111", "", ""},
		"http://127.0.0.1:1111/":            {Target{Network: "tcp", Address: "127.0.0.1:1111"}, "127.0.0.1:1111", "/", ""},
		"http://Hub.Example/x?a=1;b":        {Target{Network: "tcp", Address: "hub.example:80"}, "hub.example", "/x", "a=1;b"},
		"HTTP://h:0080?q":                   {Target{Network: "tcp", Address: "h:80"}, "h", "", "q"},
		"http://h:/":                        {Target{Network: "tcp", Address: "h:80"}, "h", "/", ""},
		"http://user:p%40ss@h:81/x#frag":    {Target{Network: "tcp", Address: "h:81"}, "h:81", "/x", ""},
		"http://a@b@h:81/":                  {Target{Network: "tcp", Address: "h:81"}, "h:81", "/", ""},
		"http://my_container.net.:9/a%2Fb":  {Target{Network: "tcp", Address: "my_container.net.:9"}, "my_container.net.:9", "/a%2Fb", ""},
		"http://h/a%20b/../%E4%BD%A0":       {Target{Network: "tcp", Address: "h:80"}, "h", "/a%20b/../%E4%BD%A0", ""},
		"http://[::1]:8080/":                {Target{Network: "tcp", Address: "[::1]:8080"}, "[::1]:8080", "/", ""},
		"http://[2001:DB8:0::1]":            {Target{Network: "tcp", Address: "[2001:db8::1]:80"}, "[2001:db8::1]", "", ""},
		"http://[fe80::1%25eth0]:80":        {Target{Network: "tcp", Address: "[fe80::1%eth0]:80"}, "[fe80::1%eth0]", "", ""},
		"https://h":                         {Target{Network: "tcp", Address: "h:443", TLS: true}, "h", "", ""},
		"https://h:80/x":                    {Target{Network: "tcp", Address: "h:80", TLS: true}, "h:80", "/x", ""},
		"h2c://h:50051":                     {Target{Network: "tcp", Address: "h:50051", Protocol: H2C}, "h:50051", "", ""},
		"http+unix://%2Frun%2Fhub.sock":     {Target{Network: "unix", Address: "/run/hub.sock"}, "localhost", "", ""},
		"unix+http://%2frun%2Fa%40b/p?q":    {Target{Network: "unix", Address: "/run/a@b"}, "localhost", "/p", "q"},
		"http+unix://u:p@%2Frun%2Fx#ignore": {Target{Network: "unix", Address: "/run/x"}, "localhost", "", ""},
	} {
		got, base, err := ParseTarget(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if got != want.target {
			t.Errorf("%s: got %+v, want %+v", raw, got, want.target)
		}
		if base.Host != want.host || base.EscapedPath() != want.path || base.RawQuery != want.query ||
			base.User != nil || base.Fragment != "" || (base.Scheme == "https") != got.TLS {
			t.Errorf("%s: base %#v", raw, base)
		}
	}
}

func TestParseTargetSaysWhatIsWrong(t *testing.T) {
	for raw, names := range map[string]string{
		"":                                   "scheme",
		"not a url":                          "space",
		"hub:8000":                           "scheme",
		"//h/":                               "scheme",
		"ftp://h/":                           "scheme",
		"ws://h/":                            "scheme",
		"unix:///run/x":                      "scheme",
		"https+unix://%2Frun%2Fx":            "scheme",
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
		_, _, err := ParseTarget(raw)
		if err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%q: got %v, want an error that names %q", raw, err, names)
		}
	}
}

// Whatever is taken as a target is one: its text reads back as itself, a pool
// can be had for it, and neither it nor an error repeats a password.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"http://h:80/p?q#f", "https://[::1]:1", "h2c://a.b", "http+unix://%2Fx/y", "http://[fe80::1%25e]", "//", "http://@",
	} {
		f.Add(s, "secret")
	}
	f.Fuzz(func(t *testing.T, raw, password string) {
		target, base, err := ParseTarget(raw)
		if err == nil {
			again, bare, err := ParseTarget(target.String())
			if err != nil || again != target || bare.Path != "" || bare.RawQuery != "" {
				t.Errorf("%q: %+v is written %q, which reads %+v, %v", raw, target, target, again, err)
			}
			normal, err := target.normal()
			if err != nil {
				t.Errorf("%q: no pool: %v", raw, err)
			}
			if twice, err := normal.normal(); err != nil || twice != normal {
				t.Errorf("%q: %+v has another normal form, %+v, %v", raw, normal, twice, err)
			}
			if base.Host == "" || base.User != nil || base.Fragment != "" || base.Opaque != "" {
				t.Errorf("%q: base %#v", raw, base)
			}
			for _, part := range []string{base.EscapedPath(), base.RawQuery} {
				if strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
					t.Errorf("%q: %q cannot stand in a request line", raw, part)
				}
			}
			if p := base.EscapedPath(); p != "" && p[0] != '/' {
				t.Errorf("%q: path %q", raw, p)
			}
		}
		// A password long enough not to be in our own words by chance.
		if len(password) >= 6 && !strings.ContainsAny(password, "/?#\\") {
			_, base, err := ParseTarget("http://user:" + password + "@" + raw)
			const words = "want a number from 1 to 65535 has a space or a control character: percent-encode it"
			if err != nil && strings.Contains(err.Error(), password) && !strings.Contains(words, password) && !strings.Contains(raw, password) {
				t.Errorf("the error repeats the password: %v", err)
			}
			if err == nil && base.User != nil {
				t.Errorf("base keeps a user: %v", base)
			}
		}
	})
}

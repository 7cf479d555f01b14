package tunnelurl_test

import (
	"reflect"
	"strings"
	"testing"

	"signalbox/proto/tunnelurl"
)

func TestParse(t *testing.T) {
	plain := tunnelurl.URL{
		Role: tunnelurl.Server, Tunnel: "0.0.0.0:10101", Targets: []string{"127.0.0.1:8080"},
		Log: "info", Min: 64, Max: 8192, Wire: tunnelurl.Auto,
	}
	with := func(change func(*tunnelurl.URL)) tunnelurl.URL {
		u := plain
		change(&u)
		return u
	}
	for s, want := range map[string]tunnelurl.URL{
		"server://0.0.0.0:10101/127.0.0.1:8080": plain,
		"SERVER://0.0.0.0:10101/127.0.0.1:8080": plain,
		"server://secret@0.0.0.0:10101/127.0.0.1:8080?tls=1&log=debug": with(func(u *tunnelurl.URL) {
			u.Key, u.TLS, u.Log = "secret", tunnelurl.SelfSigned, "debug"
		}),
		"client://:10101/[::1]:22,db:22?min=0&max=x&log=event": with(func(u *tunnelurl.URL) {
			u.Role, u.Tunnel, u.Targets, u.Min, u.Max = tunnelurl.Client, ":10101", []string{"[::1]:22", "db:22"}, 0, 0
		}),
		"server://0.0.0.0:10101/127.0.0.1:8080?min=9&max=3&rate=8&slot=2&read=30s&noudp=1&proxy=1&wire=1.4&zz=1": with(func(u *tunnelurl.URL) {
			u.Min, u.Max, u.Rate, u.Slots, u.Idle, u.NoUDP, u.Proxy, u.Wire = 3, 9, 1_000_000, 2, 30e9, true, true, tunnelurl.V1_4
		}),
	} {
		got, err := tunnelurl.Parse(s)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", s, got, err, want)
		}
	}
}

func TestWhatCannotRunIsRefusedWithItsReason(t *testing.T) {
	for s, want := range map[string]string{
		"http://a:1/b:2":                             "expected server:// or client://",
		"server:///":                                 "needs a port",
		"server://a:1":                               "target address",
		"server://a:0/b:1":                           "1 to 65535",
		"server://a:70000/b:1":                       "1 to 65535",
		"client://a:1/b:1,":                          "target address",
		"client://a:1/::1:2":                         "brackets",
		"client://a:1/b:1,a:1":                       "go round",
		"server://a:1/b:1?tls=3":                     "tls is \"3\"",
		"server://a:1/b:1?tls=2":                     "crt and key",
		"server://a:1/b:1?wire=2":                    "expected auto, 1.4, 1.14 or signalbox",
		"server://a:1/b:1?type=1":                    "only 0",
		"client://a:1/b:1?notcp=1&noudp=1":           "nothing to carry",
		"client://a:1/b:1?dial=home":                 "an IP address",
		"server://a:1/" + strings.Repeat("x", 5_000): "at most 4096",
		"server://topsecret@a:b/c:1":                 "not a URL",
	} {
		_, err := tunnelurl.Parse(s)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v; want %q in it", s, err, want)
		} else if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: the key is in the error: %v", s, err)
		}
	}
}

// As a 1.4.4 master answered.
func TestURLsAreKeptAsNodePassKeepsThem(t *testing.T) {
	one := tunnelurl.Defaults{Log: "info", TLS: "1"}
	two := tunnelurl.Defaults{Log: "info", TLS: "2", CertFile: "/tmp/c.pem", KeyFile: "/tmp/k.pem"}
	for _, c := range []struct {
		url  string
		d    tunnelurl.Defaults
		want string
	}{
		{"server://a:1/b:2", one, "server://a:1/b:2?log=info&tls=1"},
		{"server://a:1/b:2?tls=0&zz=1&min=3", one, "server://a:1/b:2?log=info&min=3&tls=0&zz=1"},
		{"client://a:1/b:2", one, "client://a:1/b:2?log=info"},
		{"server://a:1/b:2", two, "server://a:1/b:2?crt=%2Ftmp%2Fc.pem&key=%2Ftmp%2Fk.pem&log=info&tls=2"},
		{"SERVER://k@a:1/b:2", tunnelurl.Defaults{}, "server://k@a:1/b:2"},
	} {
		if got := tunnelurl.Normal(c.url, c.d); got != c.want {
			t.Errorf("%s: %s; want %s", c.url, got, c.want)
		}
	}
}

func TestAKeyIsGivenOrFollowsFromThePort(t *testing.T) {
	u, err := tunnelurl.Parse("server://127.0.0.1:19101/127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Secret(tunnelurl.V1_4); got != "4a9d" {
		t.Errorf("1.4: %s", got)
	}
	if got := u.Secret(tunnelurl.V1_14); got != "23a423ed" {
		t.Errorf("1.14: %s", got)
	}
	if u.Key = "given"; u.Secret(tunnelurl.V1_14) != "given" {
		t.Error("a key that was given is not used")
	}
}

func TestRedact(t *testing.T) {
	for s, want := range map[string]string{
		"server://k@a:1/b:2?x=@": "server://********@a:1/b:2?x=@",
		"server://a:1/b:2":       "server://a:1/b:2",
		"server://k@":            "server://********@",
		"k@a:1":                  "********@a:1",
		"client://k:p@q@a:1/b:2": "client://********@a:1/b:2",
	} {
		if got := tunnelurl.Redact(s); got != want {
			t.Errorf("%s: %s; want %s", s, got, want)
		}
	}
}

// What is read of a URL is read of its normal form too, that form is its own,
// and no error or redacted form tells the key.
func FuzzParse(f *testing.F) {
	f.Add("server://secretkey@0.0.0.0:10101/127.0.0.1:8080?tls=1&min=3&crt=%2Fa")
	f.Add("client://[::1]:1/a:2,b:3?log=error&read=1s&wire=1.14")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := tunnelurl.Parse(s)
		if err != nil {
			return
		}
		normal := tunnelurl.Normal(s, tunnelurl.Defaults{})
		if again := tunnelurl.Normal(normal, tunnelurl.Defaults{}); again != normal {
			t.Fatalf("%q is %q, and that is %q", s, normal, again)
		}
		if len(normal) > tunnelurl.MaxLength {
			return
		}
		if again, err := tunnelurl.Parse(normal); err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%q: %+v\n%q: %+v, %v", s, got, normal, again, err)
		}
		if len(got.Key) > 8 && strings.Contains(tunnelurl.Redact(s), got.Key+"@") {
			t.Fatalf("the key of %q is in %q", s, tunnelurl.Redact(s))
		}
	})
}

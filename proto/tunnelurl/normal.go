package tunnelurl

import (
	"net/url"
	"strings"
)

// Defaults are what a NodePass master writes into URLs that leave it out.
type Defaults struct {
	// Log is the master's level as it was given; empty for none.
	Log string
	// TLS is the master's own, "1" or "2", which servers take over; empty or "0"
	// for none. CertFile and KeyFile go with "2".
	TLS, CertFile, KeyFile string
}

// Normal returns a URL as a NodePass master keeps it: the scheme in lower case,
// the defaults filled in where a parameter is absent or empty, and the
// parameters in order of their names. Those that are not known stay.
func Normal(s string, d Defaults) string {
	raw, err := url.Parse(s)
	if err != nil {
		return s
	}
	q := raw.Query()
	fill := func(name, value string) {
		if value != "" && q.Get(name) == "" {
			q.Set(name, value)
		}
	}
	raw.Scheme = strings.ToLower(raw.Scheme)
	fill("log", d.Log)
	if raw.Scheme == string(Server) && d.TLS != "" && d.TLS != "0" {
		fill("tls", d.TLS)
		if d.TLS == "2" {
			fill("crt", d.CertFile)
			fill("key", d.KeyFile)
		}
	}
	raw.RawQuery = q.Encode()
	return raw.String()
}

package nodepass

import (
	"net/url"
	"strconv"
	"strings"

	"signalbox/proto/tunnelurl"
)

// configOf is a URL with every parameter in it that matters to its role, as it
// is understood: read again it means the same. It is empty for what is no URL.
func configOf(s string) string {
	u, err := tunnelurl.Parse(s)
	if err != nil {
		return ""
	}
	raw, err := url.Parse(s)
	if err != nil {
		return ""
	}
	q := raw.Query() // what is not known stays
	for name, value := range everyParameter(u) {
		q.Set(name, value)
	}
	raw.Scheme = strings.ToLower(raw.Scheme)
	raw.RawQuery = q.Encode()
	return raw.String()
}

// everyParameter has the parameters of a URL, those left out included.
func everyParameter(u tunnelurl.URL) map[string]string {
	read := "0"
	if u.Idle > 0 {
		read = u.Idle.String()
	}
	all := map[string]string{
		"log": u.Log, "mode": strconv.Itoa(u.Mode), "wire": string(u.Wire), "type": "0",
		"dial": text(u.Source, "auto"), "slot": strconv.Itoa(u.Slots),
		"rate": strconv.FormatInt(u.Megabits(), 10), "read": read,
		"proxy": flag(u.Proxy), "notcp": flag(u.NoTCP), "noudp": flag(u.NoUDP), "block": text(u.Block, "0"),
		"max": strconv.Itoa(u.Max),
	}
	if u.Role == tunnelurl.Server {
		all["tls"] = strconv.Itoa(int(u.TLS))
	} else {
		all["min"] = strconv.Itoa(u.Min)
	}
	return all
}

// text is s, or what stands for none.
func text(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// flag is how a parameter says yes or no.
func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

package tunnelurl

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What a client keeps ready where its URL does not say.
const (
	defaultMin = 64
	defaultMax = 8192
)

// megabit is how many bytes per second one of "rate" is.
const megabit = 125_000

// Megabits is Rate as "rate" has it.
func (u URL) Megabits() int64 { return u.Rate / megabit }

// parameters takes those over that are known. NodePass takes any value for most
// of them, so only what would make an instance something else than was asked
// for is an error.
func (u *URL) parameters(q url.Values) error {
	u.CertFile, u.KeyFile, u.ServerName, u.Block = q.Get("crt"), q.Get("key"), q.Get("sni"), q.Get("block")
	u.Log = level(q.Get("log"))
	u.Min, u.Max = count(q, "min", defaultMin), count(q, "max", defaultMax)
	if u.Min > u.Max {
		u.Min, u.Max = u.Max, u.Min
	}
	u.Slots = count(q, "slot", 0)
	u.Rate = int64(min(count(q, "rate", 0), 1_000_000)) * megabit
	u.NoTCP, u.NoUDP, u.Proxy = q.Get("notcp") == "1", q.Get("noudp") == "1", q.Get("proxy") == "1"
	if d, err := time.ParseDuration(q.Get("read")); err == nil && d > 0 {
		u.Idle = d
	}
	var bad []error
	code := func(name string, most int) int {
		n, err := strconv.Atoi(q.Get(name))
		if q.Get(name) != "" && (err != nil || n < 0 || n > most) {
			bad = append(bad, fmt.Errorf("%s is %q; expected 0 to %d", name, q.Get(name), most))
		}
		return n
	}
	u.TLS, u.Mode = TLS(code("tls", 2)), code("mode", 2)
	u.Wire = Wire(strings.ToLower(q.Get("wire")))
	switch u.Wire {
	case "":
		u.Wire = Auto
	case Auto, V1_4, V1_14, Signalbox:
	default:
		bad = append(bad, fmt.Errorf("wire is %q; expected auto, 1.4, 1.14 or signalbox", u.Wire))
	}
	if kind := q.Get("type"); kind != "" && kind != "0" {
		bad = append(bad, fmt.Errorf("type is %q; only 0, connections over TCP, is spoken here", kind))
	}
	if source := q.Get("dial"); source != "" && source != "auto" {
		if _, err := netip.ParseAddr(source); err != nil {
			bad = append(bad, fmt.Errorf("dial is %q; expected an IP address or auto", source))
		}
		u.Source = source
	}
	if u.NoTCP && u.NoUDP {
		bad = append(bad, errors.New("notcp and noudp leave nothing to carry"))
	}
	if u.TLS == Verified && u.Role == Server && (u.CertFile == "" || u.KeyFile == "") {
		bad = append(bad, errors.New("tls is 2, which needs crt and key, paths of files on the node"))
	}
	return errors.Join(bad...)
}

// level is the level that one of "log" stands for.
func level(s string) string {
	switch s = strings.ToLower(s); s {
	case "none", "debug", "warn", "error":
		return s
	}
	return "info"
}

// count is a parameter that is a number: absent the default, no positive number
// 0.
func count(q url.Values, name string, absent int) int {
	if q.Get(name) == "" {
		return absent
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 0 {
		return 0
	}
	return min(n, 1_000_000)
}

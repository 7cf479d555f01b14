package chp

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// usable returns a target as the WHATWG's URL standard reads it, by which CHP
// does, as far as other readers of URLs would not: blanks around it, slashes that
// are missing, too many or lean the other way, dot segments, characters that must
// be percent-encoded, and hosts that are numbers or not ASCII. A target without
// any of that is returned as it is.
func usable(target string) (string, error) {
	text := strings.TrimFunc(target, func(r rune) bool { return r <= ' ' })
	text = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(text)
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return text, nil
	}
	rest = strings.TrimLeft(rest, `/\`)
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	user := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, authority = authority[:i+1], authority[i+1:]
	}
	authority, err := usableHost(authority)
	if err != nil {
		return "", err
	}
	tail, _, _ = strings.Cut(tail, "#") // which nobody is sent
	path, query, asked := strings.Cut(tail, "?")
	if path != "" {
		path = percent(resolve(path), "\"<>`{}")
	}
	if asked {
		query = "?" + percent(query, `"<>'`)
	}
	return scheme + "://" + user + authority + path + query, nil
}

// percent percent-encodes what is not printable ASCII in s, and some that is.
func percent(s, also string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(also, c) >= 0 {
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(0x100|uint64(c), 16)[1:]))
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// usableHost returns a host, with its port if it has one, as DNS knows it.
func usableHost(authority string) (string, error) {
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i:]
	}
	if strings.HasPrefix(host, "[") {
		return authority, nil
	}
	if name, err := url.PathUnescape(host); err == nil {
		host = name
	}
	if !ascii(host) {
		name, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", errors.New("host: it is no name that DNS could know")
		}
		host = name
	}
	host, err := usableNumber(host)
	return host + port, err
}

// usableNumber returns a host that ends in a number as the IPv4 address that it
// stands for: its last part counts for all those that are left out, and a part
// may be octal or hexadecimal.
func usableNumber(host string) (string, error) {
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if _, number := part(parts[len(parts)-1]); !number {
		return host, nil
	}
	wrong := errors.New("host: it ends in a number, and is no IPv4 address")
	if len(parts) > 4 {
		return "", wrong
	}
	var address uint64
	for i, text := range parts {
		n, number := part(text)
		bits := 8 * (4 - i) // of the address, which this part and those after it are
		last := i == len(parts)-1
		switch {
		case !number, n < 0, !last && n > 0xff, last && uint64(n) >= 1<<bits:
			return "", wrong
		case last:
			address |= uint64(n)
		default:
			address |= uint64(n) << (bits - 8)
		}
	}
	return netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)}).String(), nil
}

// part reads a part of an address. Number says that it is meant as one, and n is
// then -1 if it cannot be.
func part(text string) (n int64, number bool) {
	base, digits := 10, text
	switch {
	case text == "":
		return 0, false
	case strings.HasPrefix(text, "0x"), strings.HasPrefix(text, "0X"):
		if base, digits = 16, text[2:]; digits == "" {
			return 0, true
		}
	case len(text) > 1 && text[0] == '0':
		base, digits = 8, text[1:]
	}
	v, err := strconv.ParseUint(digits, base, 33)
	if err == nil {
		return int64(v), true //nolint:gosec // of 33 bits
	}
	return -1, strings.Trim(text, "0123456789") == "" || errors.Is(err, strconv.ErrRange)
}

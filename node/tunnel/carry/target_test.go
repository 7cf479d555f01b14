package carry_test

import (
	"net"
	"strings"
	"testing"

	"signalbox/node/tunnel/carry"
)

// free is an address at which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestTargetsAreDialledInTurnAndTheNextWhereOneFails(t *testing.T) {
	var addresses []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	targets := &carry.Targets{Addresses: []string{addresses[0], free(t), addresses[1]}, Source: "127.0.0.1"}
	var got []string
	for range 3 {
		c, err := targets.TCP(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c.RemoteAddr().String())
		_ = c.Close()
	}
	want := []string{addresses[0], addresses[1], addresses[1]}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("dialled %v, want %v", got, want)
	}
}

func TestAnErrorNamesEveryTarget(t *testing.T) {
	one, two := free(t), free(t)
	_, err := (&carry.Targets{Addresses: []string{one, two}}).TCP(bounded(t))
	if err == nil || !strings.Contains(err.Error(), one+": connect: connection refused") || !strings.Contains(err.Error(), two) {
		t.Errorf("%v", err)
	}
}

func TestSlotsAreBoundedAndGivenBack(t *testing.T) {
	s := &carry.Slots{Most: 2}
	for n, want := range []bool{true, true, false} {
		if got := s.Take(); got != want {
			t.Fatalf("slot %d: %v", n, got)
		}
	}
	s.Give()
	if !s.Take() {
		t.Error("none after one was given back")
	}
	if unbounded := (*carry.Slots)(nil); !unbounded.Take() {
		t.Error("nil is bounded")
	}
}

func TestProxyHeader(t *testing.T) {
	for _, c := range [][3]string{
		{"192.0.2.1:40000", "198.51.100.2:80", "PROXY TCP4 192.0.2.1 198.51.100.2 40000 80\r\n"},
		{"[::ffff:192.0.2.1]:40000", "198.51.100.2:80", "PROXY TCP4 192.0.2.1 198.51.100.2 40000 80\r\n"},
		{"[2001:db8::1]:40000", "198.51.100.2:80", "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 40000 80\r\n"},
		{"[fe80::1%eth0]:40000", "[2001:db8::2]:80", "PROXY TCP6 fe80::1 2001:db8::2 40000 80\r\n"},
		{"", "198.51.100.2:80", "PROXY UNKNOWN\r\n"},
		{"name:80", "198.51.100.2:80", "PROXY UNKNOWN\r\n"},
	} {
		if got := carry.ProxyHeader(c[0], c[1]); got != c[2] {
			t.Errorf("%s, %s: %q", c[0], c[1], got)
		}
	}
}

func TestRecognise(t *testing.T) {
	for first, want := range map[string]carry.Protocol{
		"\x05\x01\x00": carry.SOCKS, "\x04\x01": carry.SOCKS, "\x16\x03\x01": carry.TLS, "\x16\x04": carry.Other,
		"GET / HT": carry.HTTP, "OPTIONS ": carry.HTTP, "PRI * HTTP/2.0": carry.HTTP, "GETTY": carry.Other, "SSH-2.0-": carry.Other,
	} {
		if got, known := carry.Recognise([]byte(first)); got != want || !known {
			t.Errorf("%q is %q, %v", first, got, known)
		}
	}
}

// What was known of a beginning stays so with what follows it, and 8 bytes
// always tell.
func FuzzRecognise(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1"))
	f.Add([]byte{0x16, 3, 1})
	f.Add([]byte("PRI * HTTP/2.0"))
	f.Fuzz(func(t *testing.T, first []byte) {
		told, known := carry.Protocol(""), false
		for n := range len(first) + 1 {
			p, k := carry.Recognise(first[:n])
			if known && (!k || p != told) {
				t.Fatalf("%q was %q, and with %d bytes is %q, %v", first, told, n, p, k)
			}
			if n >= 8 && !k {
				t.Fatalf("%q is not known", first[:n])
			}
			told, known = p, k
		}
	})
}

package wire4

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
	"signalbox/proto/tunnelurl"
)

// captured are lines that NodePass 1.4.4 sent with the key "secret".
var captured = []struct {
	line string
	want signal
}{
	{"0a", signal{what: beat}},
	{"29 29 34 37 62 37 36 33 62 62 25 37 0a", signal{what: open, id: "21d105dd", kind: link.TCP}},
	{"29 29 65 3f 34 67 60 30 31 30 25 34 0a", signal{what: open, id: "c92af676", kind: link.UDP}},
	{"25 36 0a", signal{what: flush}},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignalsAreThoseCaptured(t *testing.T) {
	m := maskOf("secret")
	for _, c := range captured {
		line := unhex(t, c.line)
		if got, err := m.read(bytes.NewReader(line)); err != nil || got != c.want {
			t.Errorf("%s is read as %+v, %v; want %+v", c.line, got, err, c.want)
		}
		if got := m.line(c.want.text()); !bytes.Equal(got, line) {
			t.Errorf("%+v is sent as % x; want %s", c.want, got, c.line)
		}
	}
	for line, want := range map[string]terms{
		"29 29 2b 25 36 0a": {tunnelurl.Server, tunnelurl.Plain},
		"29 29 2d 25 36 0a": {tunnelurl.Client, tunnelurl.Plain},
		"29 29 2b 25 37 0a": {tunnelurl.Server, tunnelurl.SelfSigned},
		"29 29 2d 25 34 0a": {tunnelurl.Client, tunnelurl.Verified},
	} {
		if got, ok := m.readTerms(unhex(t, line)); !ok || got != want {
			t.Errorf("%s is read as %+v, %v; want %+v", line, got, ok, want)
		}
		if got := m.line(want.text()); !bytes.Equal(got, unhex(t, line)) {
			t.Errorf("%+v is sent as % x; want %s", want, got, line)
		}
	}
	if got := m.line("secret"); !bytes.Equal(got, unhex(t, "75 63 65 74 63 72 0a")) {
		t.Errorf("the key is sent as % x", got)
	}
}

func TestWhatIsNoSignalIsLeftAlone(t *testing.T) {
	m := maskOf("secret")
	for _, text := range []string{"//21d105dd#3", "//21D105DD#1", "//21d105dd", "//21d105dd#11", "#1", "/", "hello", "//-#0"} {
		got, err := m.read(bytes.NewReader(append(m.line(text), m.line("#0")...)))
		if err != nil || got != (signal{}) {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
	if _, err := m.read(strings.NewReader(strings.Repeat("x", 1<<20))); !errors.Is(err, errLong) {
		t.Errorf("a line without an end: %v", err)
	}
}

// The lengths that make a character of a signal the end of its line, and who
// cannot use them: s a server that receives users, c one whose client does, with
// TLS 0, 1 and 2; C a client whose server says that it receives users.
func TestKeyLengthsAreRefusedWhereTheyLoseWhatIsNeeded(t *testing.T) {
	refused := map[int]string{
		33: "c0 c1 c2",              // +
		37: "s0 s1 s2 c0 c1 c2 C -", // /
		39: "s0 s1 s2",              // -
		41: "s0 s1 s2 c0 c1 c2 C -", // #
		56: "s0 s1 s2 c2 C",         // 2
		58: "s0 c0",                 // 0
		59: "s0 s1 s2 c1 C",         // 1
	}
	for n := range 300 {
		key, length := strings.Repeat("\x80", n), n%256
		var got []string
		for name, t := range map[string]terms{
			"s0": {tunnelurl.Server, 0}, "s1": {tunnelurl.Server, 1}, "s2": {tunnelurl.Server, 2},
			"c0": {tunnelurl.Client, 0}, "c1": {tunnelurl.Client, 1}, "c2": {tunnelurl.Client, 2},
		} {
			if err := NewServer(link.Config{Secret: key, Receives: t.receives, TLS: t.tls}).Err(); err != nil {
				got = append(got, name)
				if !strings.Contains(err.Error(), "bytes long") || strings.Contains(err.Error(), "\x80") {
					panic(err)
				}
			}
		}
		if usable(key, always+openNeeds(true)) != nil {
			got = append(got, "C")
		}
		if usable(key, always) != nil {
			got = append(got, "-")
		}
		want := strings.Fields(refused[length])
		if n == 138 { // the key's own character
			want = strings.Fields("s0 s1 s2 c0 c1 c2 C -")
		}
		if len(got) != len(want) || !containsAll(got, want) {
			t.Errorf("length %d: %v; want %v", n, got, want)
		}
	}
}

func containsAll(got, want []string) bool {
	for _, w := range want {
		if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+w+" ") {
			return false
		}
	}
	return true
}

func TestAKeyThatLosesACharacterOfItsOwnIsRefusedWithoutTellingIt(t *testing.T) {
	key := "b" + strings.Repeat("x", 103) // 104 loses b
	err := usable(key, always)
	if err == nil || strings.Contains(err.Error(), "\"b\"") {
		t.Error(err)
	}
}

// Whatever the length, apart from the two that nobody can use, what is sent is
// what is read, even where a peer's id has the character that is lost.
func FuzzSignalsComeBack(f *testing.F) {
	f.Add(byte(6), uint32(0x21d105dd), byte(0))
	f.Add(byte(104), uint32(0xbbbbbbbb), byte(1))
	f.Add(byte(58), uint32(0), byte(2))
	f.Add(byte(59), uint32(0x11111111), byte(0))
	f.Add(byte(56), uint32(0x22222222), byte(1))
	f.Fuzz(func(t *testing.T, length byte, id uint32, what byte) {
		m := mask(length)
		if m.lost() == '/' || m.lost() == '#' {
			return
		}
		want := []signal{
			{what: open, id: hex.EncodeToString([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})},
			{what: open, id: hex.EncodeToString([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)}), kind: link.UDP},
			{what: flush},
			{what: beat},
		}
		for range what % 4 { // in any order
			want = append(want[1:], want[0])
		}
		var sent []byte
		for _, s := range want {
			sent = append(sent, m.line(s.text())...)
		}
		r := bytes.NewReader(sent)
		for _, s := range want {
			if got, err := m.read(r); err != nil || got != s {
				t.Fatalf("length %d: %+v came as %+v, %v", length, s, got, err)
			}
		}
		if r.Len() != 0 {
			t.Fatalf("%d bytes are left", r.Len())
		}
	})
}

// Any bytes are read in lines of bounded length, and what is understood is sent
// in the same form.
func FuzzRead(f *testing.F) {
	for _, c := range captured {
		f.Add(byte(6), unhex(f, c.line))
	}
	f.Add(byte(0), []byte("//21d105dd#1\n#0\n\n//x\n"))
	f.Add(byte(0), bytes.Repeat([]byte("/"), 200))
	f.Fuzz(func(t *testing.T, length byte, data []byte) {
		m, r := mask(length), bytes.NewReader(data)
		for r.Len() > 0 {
			before := r.Len()
			got, err := m.read(r)
			used := before - r.Len()
			if used > maxLine {
				t.Fatalf("a line of %d bytes", used)
			}
			if err != nil {
				return
			}
			if got.what == unknown {
				continue
			}
			if used != len(got.text())+1 {
				t.Fatalf("%+v was read from %d bytes", got, used)
			}
			if !bytes.Equal(m.line(got.text()), data[len(data)-before:len(data)-r.Len()]) {
				t.Fatalf("%+v is not what was read", got)
			}
		}
	})
}

func FuzzReadTerms(f *testing.F) {
	f.Add(byte(6), unhex(f, "29 29 2b 25 36 0a"))
	f.Add(byte(6), []byte("21d105"))
	f.Fuzz(func(t *testing.T, length byte, line []byte) {
		m := mask(length)
		if got, ok := m.readTerms(line); ok && !bytes.Equal(m.line(got.text()), line) {
			t.Fatalf("% x is read as %+v", line, got)
		}
	})
}

// A server's ids have no character that its signals cannot have.
func TestIDsAvoidWhatIsLost(t *testing.T) {
	for n := range 256 {
		s := &session{mask: mask(n), pool: pool.New(false, pool.Demand{})}
		for range 20 {
			id := s.newID()
			if len(id) != 8 || strings.Trim(id, hexDigits) != "" || strings.IndexByte(id, s.mask.lost()) >= 0 {
				t.Fatalf("length %d: %q", n, id)
			}
		}
	}
}

package wire14

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"signalbox/proto/tunnelurl"
)

// captured are lines between two ends of 1.14.0 with the key "secret".
var captured = map[string]signal{
	"CEcCEREdHAtBSEcEGgsEUBg=": {Action: ping},
	"CEcCEREdHAtBSEcEHAsEUBg=": {Action: pong},
	"CEcCEREdHAtBSEcAEBVBXkcGFggMBgBWSUdSQFJaQ0tTXFROQFxSQVVWX0cKFkdOUVdTF1ERQwZUUBg=": {Action: open, Remote: "127.0.0.1:39130", ID: "20e4e0c7"},
	"CEcCEREdHAtBSEcBFxVBXkcGFggMBgBWSUdSQFJaQ0tTXFROQFNTQV1WX0cKFkdOUQBTFl1BQwMFUBg=": {Action: openU, Remote: "127.0.0.1:36038", ID: "e0d850ff"},
}

func TestCapturedSignalsAreReadAndWritten(t *testing.T) {
	for line, want := range captured {
		got, err := mask("secret").read(bufio.NewReader(strings.NewReader(line + "\n")))
		if err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", line, got, err, want)
		}
		if got := string(mask("secret").line(want)); got != line+"\n" {
			t.Errorf("%+v is written %q, want %q", want, got, line)
		}
	}
}

func TestWhatIsNoSignalIsAnError(t *testing.T) {
	key := mask("secret")
	text := func(s string) string { return string(key.line(signal{Action: s})) }
	long := strings.Repeat("A", maxLine)
	for name, c := range map[string]struct {
		line string
		want error
	}{
		"no base64":             {"CEc!\n", errSignal},
		"base64 that goes on":   {"CEcCEREdHAtBSEcEGgsEUBg=CEc=\n", errSignal},
		"another key":           {string(mask("terces").line(signal{Action: ping})), errSignal},
		"an empty line":         {"\n", errSignal},
		"no action":             {text(""), errSignal},
		"an id that is none":    {string(key.line(signal{Action: open, ID: "20E4E0C7"})), errSignal},
		"an id that is missing": {text(verify), errSignal},
		"a long line":           {long + "\n", errLong},
		"a line without an end": {"CEcC", io.EOF},
	} {
		if s, err := key.read(bufio.NewReaderSize(strings.NewReader(c.line), maxLine)); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestWhatIsNotKnownOfASignalDoesNoHarm(t *testing.T) {
	key := mask("secret")
	for _, c := range []struct{ text, action, remote string }{
		{`{"action":"dance","id":"not one","more":{"a":[1]}}`, "dance", ""},
		{`{"action":"tcp","remote":"x\r\ny","id":"00000001"}`, open, ""},
		{`{"action":"tcp","remote":"[::1]:5","id":"00000001"}`, open, "[::1]:5"},
	} {
		line := base64Of(c.text)
		s, err := key.parse([]byte(line))
		if err != nil || s.Action != c.action || s.Remote != c.remote {
			t.Errorf("%s: %+v, %v", c.text, s, err)
		}
	}
}

// Without a key, which no end has, nothing is combined.
func TestAnEmptyKeyDoesNotPanic(t *testing.T) {
	if s, err := mask("").parse(mask("").line(signal{Action: ping})[:24]); err != nil || s.Action != ping {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzSignal(f *testing.F) {
	for line := range captured {
		f.Add("secret", []byte(line))
	}
	f.Fuzz(func(t *testing.T, key string, line []byte) {
		s, err := mask(key).parse(line)
		if err != nil {
			if s != (signal{}) {
				t.Errorf("%+v with %v", s, err)
			}
			return
		}
		// What was understood is understood again, the same.
		again := mask(key).line(s)
		if got, err := mask(key).parse(again[:len(again)-1]); err != nil || got != s {
			t.Errorf("%+v became %+v, %v", s, got, err)
		}
	})
}

func FuzzTerms(f *testing.F) {
	f.Add([]byte(`{"flow":"-","max":8,"tls":"0","type":"0"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := readTerms(text)
		if err != nil {
			return
		}
		if again, err := readTerms([]byte(got.text())); err != nil || again != got || got.most < 1 {
			t.Errorf("%+v became %+v, %v", got, again, err)
		}
	})
}

func TestTermsThatAreNotUnderstoodAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"flow":"-","max":8,"tls":"0","type":"1"}`: `another kind than TCP connections ("1")`,
		`{"flow":"-","max":8,"tls":"0","type":"3"}`: "type=0",
		`{"flow":"x","max":8,"tls":"0","type":"0"}`: `flow "x"`,
		`{"flow":"-","max":8,"tls":"3","type":"0"}`: `tls "3"`,
		`{"flow":"-","max":8,"tls":"","type":"0"}`:  `tls ""`,
		`{"flow":"-","max":0,"tls":"0","type":"0"}`: "max 0",
		`{"flow":"-","max":8,"tls":0,"type":"0"}`:   "NodePass 1.14 does not",
		`hello`: "NodePass 1.14 does not",
	} {
		if got, err := readTerms([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// The answer has the length that was captured.
func TestTermsAreWrittenAsCaptured(t *testing.T) {
	got := terms{receives: tunnelurl.Server, most: 8}.text()
	if want := `{"flow":"-","max":8,"tls":"0","type":"0"}` + "\n"; got != want || len(got) != 42 {
		t.Errorf("%q, want %q", got, want)
	}
}

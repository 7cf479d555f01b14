package main

import (
	"strings"
	"testing"
)

// What a flag does not take is said in words for people, wherever it stands.
func TestWordsForWrongValues(t *testing.T) {
	for line, want := range map[string]string{
		"etcd --quota-bytes banana":                 `--quota-bytes "banana" must be a whole number`,
		"etcd --quota-bytes 99999999999999999999":   `--quota-bytes "99999999999999999999" must be a whole number, and is out of range`,
		"restore f --revision-bump -1":              `--revision-bump "-1" must be a whole number, and not negative`,
		"node --access-log x":                       `--access-log "x" must be a whole number`,
		"node --drain-timeout 5":                    `--drain-timeout "5" must be a time as`,
		"up --expose=banana":                        `--expose "banana" must be true or false`,
		`route put a --to a"b`:                      `--to "a\"b" must be values with commas`,
		"route put a --to http://a:1 --expect x":    `--expect "x" must be a whole number`,
		"node --config " + file(t, "access-log: x"): `config file: access-log: "x" must be a whole number`,
	} {
		_, err := parsed(t, strings.Fields(line)...)
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	t.Setenv("SIGNALBOX_EXPOSE", "banana")
	_, err := parsed(t, "up")
	if want := `environment variable SIGNALBOX_EXPOSE: "banana" must be true or false`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// Arguments of the wrong number are said in words for people, too.
func TestWordsForWrongArguments(t *testing.T) {
	for line, want := range map[string]string{
		"pki issue":        "takes one name",
		"route put a b":    "takes at most one name",
		"route delete":     "takes one name or more",
		"health a b":       "takes at most one URL",
		"listener put a b": "takes at most one name",
	} {
		_, err := parsed(t, strings.Fields(line)...)
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

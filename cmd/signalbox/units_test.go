package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the units in deploy/systemd start is a command, with flags it has.
func TestUnitsStartWhatThereIs(t *testing.T) {
	units, err := filepath.Glob("../../deploy/systemd/*.service")
	if err != nil || len(units) != 5 {
		t.Fatalf("found %v, %v", units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		line := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/signalbox (.*)$`).FindStringSubmatch(string(text))
		if line == nil {
			t.Errorf("%s starts nothing", unit)
			continue
		}
		args := strings.Fields(line[1])
		cmd, rest, err := newRoot().Find(args)
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil || cmd.Name() != args[0] || len(cmd.Flags().Args()) > 0 {
			t.Errorf("%s: %v of %q", unit, err, line[0])
		}
		for _, env := range regexp.MustCompile(`(?m)^Environment=([A-Z_]+)=`).FindAllStringSubmatch(string(text), -1) {
			flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(env[1], "SIGNALBOX_"), "_", "-"))
			if cmd.Flag(flag) == nil {
				t.Errorf("%s sets %s, and there is no --%s", unit, env[1], flag)
			}
		}
	}
}

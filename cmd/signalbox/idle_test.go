package main

import (
	"strings"
	"testing"
)

// A flag on the command line does something, or is refused.
func TestFlagsThatWouldDoNothing(t *testing.T) {
	for line, needs := range map[string]string{
		"controlplane --data-dir d --metrics-token-file f":                    "--metrics-listen",
		"node --metrics-open":                                                 "--metrics-listen",
		"node --metrics-open --metrics-listen 127.0.0.1:1":                    "",
		"node --metrics-open=false":                                           "",
		"controlplane --data-dir d --etcd-ca ca.pem":                          "--etcd",
		"controlplane --data-dir d --etcd-prefix /x":                          "--etcd",
		"controlplane --etcd http://a:1 --etcd-prefix /x":                     "",
		"etcd status --etcd-user root --etcd-password x":                      "",
		"node --admin-remote":                                                 "--admin-listen",
		"route put a --to http://a:1 --wait-timeout 9s":                       "--wait",
		"route put a --to http://a:1 --wait --wait-timeout 9s":                "",
		"up --metrics-tls-cert c.pem --metrics-tls-key c.key --data-dir data": "--metrics-listen",
	} {
		_, err := parsed(t, strings.Fields(line)...)
		if (err == nil) != (needs == "") || err != nil && (!strings.Contains(err.Error(), "without "+needs) || exitCode(err) != exitUsage) {
			t.Errorf("%s: %v, want %q", line, err, needs)
		}
	}
}

// The environment and the config file may be for several commands.
func TestSettingsForOtherCommandsAreLetBe(t *testing.T) {
	t.Setenv("SIGNALBOX_METRICS_TOKEN", "x")
	if _, err := parsed(t, "node", "--config", file(t, "metrics-open: true\netcd-ca: x")); err != nil {
		t.Error(err)
	}
}

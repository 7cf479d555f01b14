package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/node/proxy"
)

func TestFlagsThatMeanNothingSaySo(t *testing.T) {
	var c chpFlags
	if err := c.parse([]string{"--storage-backend", "x", "--ssl-dhparam", "x", "--ssl-allow-rc4", "--ip", "*",
		"--ssl-reject-unauthorized", "--api-ssl-reject-unauthorized", "--client-ssl-reject-unauthorized", "--client-ssl-request-cert"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c.sayFlags(newCHPLog(&out, "info"))
	for _, line := range []string{
		"warn: Interpreting ip='*' as all-interfaces.", "warn: --storage-backend means nothing here", "warn: --ssl-dhparam means nothing here", "warn: --ssl-allow-rc4 means nothing here",
		"info: As in CHP, --ssl-reject-unauthorized, --api-ssl-reject-unauthorized, --client-ssl-request-cert, --client-ssl-reject-unauthorized means nothing",
	} {
		if strings.Count(out.String(), line) != 1 {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
	help := c.flags().FlagUsages()
	if want := "--client-ssl-request-cert              nothing, as in CHP"; !strings.Contains(strings.Join(strings.Fields(help), " "), strings.Join(strings.Fields(want), " ")) {
		t.Errorf("-h has no %q", want)
	}
}

func TestPrintListenerSaysWhatItLeavesOut(t *testing.T) {
	var out, errs bytes.Buffer
	if err := runCHP(t.Context(), []string{"--print-listener", "--host-routing", "--insecure", "--timeout", "9", "--default-target", "http://x"}, &out, &errs); err != nil {
		t.Fatal(err, errs.String())
	}
	if want := "not in the listener, but said elsewhere in a cluster: --default-target, --insecure, --host-routing\n"; !sameWords(errs.String(), want) {
		t.Errorf("it says %q, want %q", errs.String(), want)
	}
	errs.Reset()
	if err := runCHP(t.Context(), []string{"--print-listener", "--auto-rewrite", "--custom-header", "A: b"}, &out, &errs); err != nil || errs.Len() > 0 {
		t.Errorf("%v, and it says %q", err, errs.String())
	}
}

// sameWords compares texts whatever the order of their words.
func sameWords(a, b string) bool {
	words := func(s string) []string {
		all := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' })
		slices.Sort(all)
		return all
	}
	return slices.Equal(words(a), words(b))
}

// What was kept counts, and the log says so.
func TestADefaultTargetThatIsNotTakenIsNotSaidToBe(t *testing.T) {
	dir := t.TempDir()
	s := startCHP(t, asDropIn, "--data-dir", dir, "--default-target", "http://127.0.0.1:1")
	s.says(t, "Route added / -> http://127.0.0.1:1\n")
	s.stop()
	s = startCHP(t, asDropIn, "--data-dir", dir, "--default-target", "http://127.0.0.1:2")
	s.says(t, "warn: --default-target http://127.0.0.1:2 is not taken: the route / was kept, to http://127.0.0.1:1\n")
	s.says(t, " to http://127.0.0.1:1\n")
	s.says(t, "Proxy API at")
	s.stop()
	if log := s.log.String(); strings.Contains(log, "dding route /") || strings.Contains(log, "Route added") || !strings.Contains(log, ":127.0.0.1 to http://127.0.0.1:1\n") {
		t.Errorf("it says\n%s", log)
	}
}

// Node.js warns, and goes on.
func TestExtraAuthoritiesThatCannotBeReadAreLeftOut(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("NODE_EXTRA_CA_CERTS", none)
	startCHP(t, asDropIn).says(t, "warn: Ignoring extra certs from `"+none+"`, load failed: ")
}

func TestInAnImageTheAPIIsSaidToBeEverywhere(t *testing.T) {
	t.Setenv("SIGNALBOX_EXPOSE", "1")
	var c chpFlags
	if err := c.parse([]string{"--port", "8100"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c.sayReady(newCHPLog(&out, "info"))
	if !strings.Contains(out.String(), "Proxy API at http://8101:/api/routes\n") {
		t.Errorf("it says %s", out.String())
	}
}

func TestAShortTokenIsNamedAsItIsGiven(t *testing.T) {
	t.Setenv("CONFIGPROXY_AUTH_TOKEN", "short")
	s := startCHP(t, asDropIn)
	s.says(t, "warn: CONFIGPROXY_AUTH_TOKEN is short, and can be guessed\n")
}

// A path in the log can have bytes that a terminal would obey.
func TestNothingOfARequestIsWrittenToATerminal(t *testing.T) {
	s := startCHP(t, asDropIn, "--log-level", "debug")
	s.ask(t, "GET /none\x1b[31mx")
	s.ask(t, "GET /none%1b%0d")
	s.says(t, "/none%1b%0d")
	s.stop()
	if strings.Contains(s.log.String(), "\x1b") {
		t.Errorf("%q", s.log.String())
	}
}

func TestFailuresThatAreNotLoggedAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		tell := &chpTeller{log: newCHPLog(&out, "info"), counts: newCHPMetrics(newMetrics("chp", slog.New(slog.DiscardHandler)))}
		fail := func() {
			tell.exchange(proxy.Exchange{Method: "GET", Path: "/x", Status: 404, Reason: proxy.ReasonNoRoute})
		}
		for range 150 {
			fail()
		}
		if n := strings.Count(out.String(), "error: 404 GET /x\n"); n != 100 {
			t.Errorf("%d of 150 in a second are logged", n)
		}
		time.Sleep(time.Second) //nolint:forbidigo // simulated
		fail()
		if want := "error: 404 GET /x (and 50 failures before it, which are not logged)\n"; !strings.HasSuffix(out.String(), want) {
			t.Errorf("the last line is not %q", want)
		}
	})
}

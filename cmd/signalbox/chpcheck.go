package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// inCommandersWords says what is wrong with a command line as CHP does.
func inCommandersWords(f *pflag.FlagSet, err error) error {
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
	)
	switch {
	case errors.As(err, &unknown):
		dashes := "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		return fmt.Errorf("error: unknown option '%s%s'", dashes, unknown.GetSpecifiedName())
	case errors.As(err, &missing):
		name := missing.GetSpecifiedName()
		what, _ := pflag.UnquoteUsage(f.Lookup(name))
		return fmt.Errorf("error: option '--%s <%s>' argument missing", name, what)
	}
	return fmt.Errorf("error: %w", err)
}

// check says what cannot be, before anything is started.
func (c *chpFlags) check() error {
	for _, h := range c.headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("A colon was expected in custom header: %s", h) //nolint:staticcheck // CHP's text
		}
	}
	switch {
	case c.errorTarget != "" && c.errorPath != "":
		return errors.New("Cannot specify both error-target and error-path. Pick one.") //nolint:staticcheck // the same
	case c.redirectPort != "" && (c.public.key == "" || c.public.cert == ""):
		return errors.New("HTTPS redirection specified but certificates not provided.") //nolint:staticcheck // the same
	}
	for flag, value := range map[string]string{
		"port": c.port, "api-port": c.apiPort, "metrics-port": c.metricsPort, "redirect-port": c.redirectPort, "redirect-to": c.redirectTo,
	} {
		if n, ok := jsInt(value); ok && (n < 0 || n > 65535) {
			return fmt.Errorf("error: --%s %s is not a port", flag, value)
		}
	}
	return nil
}

// flagsOf has what our own errors name, and the flags of this command line that
// it comes from.
var flagsOf = strings.NewReplacer(
	"--api-listen", "--api-ip, --api-port, --api-socket:",
	`listener "public"`, "--ip, --port, --socket",
	`listener "redirect"`, "--redirect-port",
	"route_defaults.request_headers.set", "--custom-header",
	"route_defaults.location.scheme", "--protocol-rewrite",
	"error_pages.target", "--error-target",
	"error_pages.pages", "--error-path",
	"error_pages", "--error-path",
)

// byFlags has an error name what whoever wrote the command line knows.
func byFlags(text string) string { return flagsOf.Replace(text) }

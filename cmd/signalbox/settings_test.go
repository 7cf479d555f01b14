package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// parsed runs a command line up to where its command would begin, and returns
// that command.
func parsed(t *testing.T, args ...string) (*cobra.Command, error) {
	t.Helper()
	root := newRoot()
	var at *cobra.Command
	var stub func(*cobra.Command)
	stub = func(c *cobra.Command) {
		if c.RunE != nil && !c.HasSubCommands() {
			c.RunE = func(cmd *cobra.Command, _ []string) error {
				at = cmd
				return nil
			}
		}
		for _, sub := range c.Commands() {
			stub(sub)
		}
	}
	stub(root)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return at, err
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "signalbox.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A flag wins over the environment, and that over the config file.
func TestWhereFlagsComeFrom(t *testing.T) {
	t.Setenv("SIGNALBOX_API_LISTEN", "127.0.0.1:2")
	t.Setenv("SIGNALBOX_GRPC_LISTEN", "127.0.0.1:3")
	config := file(t, "api-listen: 127.0.0.1:4\nadvertise: a:5\ngrpc-listen: 127.0.0.1:6\nlabel: [x=1]\nlease-ttl: 7s\naccess-log: 1000000\n")
	cmd, err := parsed(t, "controlplane", "--data-dir", "d", "--grpc-listen", "127.0.0.1:1", "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"grpc-listen": "127.0.0.1:1", "api-listen": "127.0.0.1:2", "advertise": "a:5", "lease-ttl": "7s", "report-interval": "1s",
	} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", flag, got, want)
		}
	}
}

// Lists come from commas in the environment, and from lists in the file.
func TestListsOfFlags(t *testing.T) {
	t.Setenv("SIGNALBOX_CONTROLPLANE", "a:1,b:2")
	t.Setenv("SIGNALBOX_ACCESS_LOG", "")
	cmd, err := parsed(t, "node", "--config", file(t, "access-log: 1000000\nlisten: [':80', 'extra=:81']\nlabel:\n  zone: a\n"))
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"controlplane": "[a:1,b:2]", "listen": "[:80,extra=:81]", "label": "[zone=a]", "access-log": "1000000"} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", flag, got, want)
		}
	}
}

// Every flag that takes several values takes them in the same ways.
func TestListsAreWrittenInOneWay(t *testing.T) {
	const want = "[http://a:1,http://b:2]"
	cases := map[string][]string{
		"repeated":       {"--to", "http://a:1", "--to", "http://b:2"},
		"with commas":    {"--to", "http://a:1,http://b:2"},
		"by environment": nil,
		"by file":        {"--config", file(t, "to: ['http://a:1', 'http://b:2']")},
		"by file, text":  {"--config", file(t, "to: http://a:1,http://b:2")},
	}
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			if args == nil {
				t.Setenv("SIGNALBOX_TO", "http://a:1,http://b:2")
			}
			cmd, err := parsed(t, append([]string{"route", "put", "x"}, args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if got := cmd.Flags().Lookup("to").Value.String(); got != want {
				t.Errorf("--to is %s, want %s", got, want)
			}
		})
	}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "stringArray" {
				t.Errorf("--%s of %s takes no commas, as all other lists do", f.Name, c.CommandPath())
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
}

// A comma within a value is possible, too.
func TestValuesWithCommas(t *testing.T) {
	for name, args := range map[string][]string{
		"in quotes":       {"--to", `"http://a:1/x,y"`},
		"in a file, list": {"--config", file(t, "to: ['http://a:1/x,y']")},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, err := parsed(t, append([]string{"route", "put", "x"}, args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := cmd.Flags().GetStringSlice("to"); err != nil || !slices.Equal(got, []string{"http://a:1/x,y"}) {
				t.Errorf("--to is %q, %v", got, err)
			}
		})
	}
}

// What is wrong is said with where it stands, and exits with 2.
func TestWrongSettings(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  string
		says string
	}{
		"an unknown flag":               {[]string{"up", "--no-such"}, "", "--no-such"},
		"an unknown command":            {[]string{"uq"}, "", "uq"},
		"an argument too many":          {[]string{"up", "now"}, "", "now"},
		"a value that is none":          {[]string{"up", "--lease-ttl", "soon"}, "", "lease-ttl"},
		"a wrong environment variable":  {[]string{"up"}, "soon", "SIGNALBOX_LEASE_TTL"},
		"a file that is not there":      {[]string{"up", "--config", "/no/such"}, "", "/no/such"},
		"a file that is not YAML":       {[]string{"up", "--config", file(t, ": [")}, "", "config file"},
		"a name that no command has":    {[]string{"up", "--config", file(t, "api_listen: x")}, "", "api_listen"},
		"a wrong value in the file":     {[]string{"up", "--config", file(t, "lease-ttl: soon")}, "", "lease-ttl"},
		"a list for one value":          {[]string{"up", "--config", file(t, "lease-ttl: [1s, 2s]")}, "", "lease-ttl"},
		"a value of no kind for a flag": {[]string{"up", "--config", file(t, "lease-ttl: null")}, "", "lease-ttl"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("SIGNALBOX_LEASE_TTL", c.env)
			}
			_, err := parsed(t, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("says %v, want something of %q", err, c.says)
			}
			if code := exitCode(err); code != exitUsage {
				t.Errorf("exits with %d, want %d", code, exitUsage)
			}
		})
	}
}

// Every flag has a sentence, and every command says what it is for.
func TestHelp(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
}

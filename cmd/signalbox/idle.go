package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// companions are flags that do nothing without another one: those whose names
// begin so, and the one they need.
var companions = []struct{ begins, need string }{
	{"metrics-", "metrics-listen"},
	{"etcd-", "etcd"},
	{"admin-remote", "admin-listen"},
	{"wait-timeout", "wait"},
}

// givenFlags are the flags on the command line, before anything else is asked
// for more.
func givenFlags(cmd *cobra.Command) (given []*pflag.Flag) {
	cmd.Flags().Visit(func(f *pflag.Flag) { given = append(given, f) })
	return given
}

// checkCompanions refuses flags on the command line that would do nothing. The
// environment and the config file may hold them, being for several commands.
func checkCompanions(cmd *cobra.Command, given []*pflag.Flag) error {
	for _, f := range given {
		for _, c := range companions {
			need := cmd.Flags().Lookup(c.need)
			if need == nil || f == need || !strings.HasPrefix(f.Name, c.begins) || f.Value.String() == f.DefValue {
				continue
			}
			switch need.Value.String() {
			case "", "[]", "false":
				return &usageError{fmt.Errorf("--%s does nothing without --%s\nSee '%s --help'", f.Name, need.Name, cmd.CommandPath())}
			}
		}
	}
	return nil
}

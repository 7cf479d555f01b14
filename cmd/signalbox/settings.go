package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// fillFlags gives the flags that are not on the command line what the
// environment or the config file says. Both are checked as the flags are.
func fillFlags(cmd *cobra.Command) error {
	file, err := readConfig(cmd)
	if err != nil {
		return err
	}
	var wrong error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if wrong != nil || f.Changed || f.Name == "help" || f.Name == "config" {
			return
		}
		env := envName(f.Name)
		if value, ok := os.LookupEnv(env); ok && value != "" {
			if err := f.Value.Set(value); err != nil {
				wrong = &usageError{fmt.Errorf("environment variable %s: %w", env, err)}
			}
			f.Changed = true
			return
		}
		for _, value := range file[f.Name] {
			if err := f.Value.Set(value); err != nil {
				wrong = &usageError{fmt.Errorf("config file: %s: %w", f.Name, err)}
			}
			f.Changed = true
		}
	})
	return wrong
}

// envName is the environment variable of a flag.
func envName(flag string) string {
	return "SIGNALBOX_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// readConfig reads the config file, if there is one. It may hold flags of
// other commands, so that a host needs one file; names that no command has are
// refused.
func readConfig(cmd *cobra.Command) (map[string][]string, error) {
	name, _ := cmd.Flags().GetString("config")
	if name == "" {
		name = os.Getenv(envName("config"))
	}
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, &usageError{fmt.Errorf("config file: %w", err)}
	}
	lines, err := parseConfig(text)
	if err != nil {
		return nil, &usageError{fmt.Errorf("config file %s: %w", name, err)}
	}
	known := flagNames(cmd.Root())
	values := make(map[string][]string, len(lines))
	for key, value := range lines {
		if !known[key] {
			return nil, &usageError{fmt.Errorf("config file %s: no command has a flag %q", name, key)}
		}
		if values[key], err = configValues(value); err != nil {
			return nil, &usageError{fmt.Errorf("config file %s: %s: %w", name, key, err)}
		}
	}
	return values, nil
}

// parseConfig reads a file's lines, with numbers as they are written.
func parseConfig(text []byte) (lines map[string]any, err error) {
	if text, err = yaml.YAMLToJSON(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return lines, d.Decode(&lines)
}

// configValues is a YAML value as a flag would be given it, once for each
// element of a list.
func configValues(value any) ([]string, error) {
	switch v := value.(type) {
	case []any:
		var all []string
		for _, e := range v {
			one, err := configValues(e)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	case map[string]any:
		var all []string
		for key, e := range v {
			all = append(all, fmt.Sprintf("%s=%v", key, e))
		}
		return all, nil
	case string, bool, json.Number:
		return []string{fmt.Sprint(v)}, nil
	}
	return nil, fmt.Errorf("must be a text, a number, true or false, or a list of them")
}

// flagNames is every flag of every command.
func flagNames(cmd *cobra.Command) map[string]bool {
	names := map[string]bool{}
	note := func(f *pflag.Flag) { names[f.Name] = true }
	cmd.Flags().VisitAll(note)
	cmd.PersistentFlags().VisitAll(note)
	for _, sub := range cmd.Commands() {
		for name := range flagNames(sub) {
			names[name] = true
		}
	}
	return names
}

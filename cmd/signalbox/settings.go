package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
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
				wrong = &usageError{fmt.Errorf("environment variable %s: %w", env, wrongValue(f.Value, value, err))}
			}
			f.Changed = true
			return
		}
		if value, ok := file[f.Name]; ok {
			if err := setLine(f.Value, value); err != nil {
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

// setLine gives a flag the value of a line of the config file. The elements
// of a list are taken as they are; a text is read as on the command line,
// where commas part a list.
func setLine(flag pflag.Value, value any) error {
	values, list, err := configValues(value)
	if err != nil {
		return err
	}
	if several, ok := flag.(pflag.SliceValue); ok && list {
		return several.Replace(values)
	}
	if len(values) != 1 {
		return fmt.Errorf("must be one value, and is a list of %d", len(values))
	}
	if err := flag.Set(values[0]); err != nil {
		return wrongValue(flag, values[0], err)
	}
	return nil
}

// readConfig reads the config file, if there is one. It may hold flags of
// other commands, so that a host needs one file; names that no command has are
// refused.
func readConfig(cmd *cobra.Command) (map[string]any, error) {
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
	for key, value := range lines {
		if !known[key] {
			return nil, &usageError{fmt.Errorf("config file %s: no command has a flag %q", name, key)}
		}
		if _, _, err := configValues(value); err != nil {
			return nil, &usageError{fmt.Errorf("config file %s: %s: %w", name, key, err)}
		}
	}
	return lines, nil
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

// configValues are the values in a line of the config file: one, or those of
// a list. A map is a list of KEY=VALUE.
func configValues(line any) (values []string, list bool, err error) {
	switch v := line.(type) {
	case []any:
		for _, e := range v {
			one, err := configValue(e)
			if err != nil {
				return nil, false, err
			}
			values = append(values, one)
		}
		return values, true, nil
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			one, err := configValue(v[key])
			if err != nil {
				return nil, false, err
			}
			values = append(values, key+"="+one)
		}
		return values, true, nil
	}
	one, err := configValue(line)
	return []string{one}, false, err
}

func configValue(v any) (string, error) {
	switch v.(type) {
	case string, bool, json.Number:
		return fmt.Sprint(v), nil
	}
	return "", errors.New("must be a text, a number, true or false, or a list of them")
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

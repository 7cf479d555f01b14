package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

// kinds are what flags take, by their types; of other types, the error says
// enough.
var kinds = map[string]string{
	"bool":        "true or false",
	"duration":    "a time as 500ms, 30s, 5m or 1h30m",
	"int":         "a whole number",
	"int64":       "a whole number",
	"uint64":      "a whole number, and not negative",
	"stringSlice": "values with commas between them; one that has a comma or a quote itself stands in quotes, where each quote is written twice",
}

// wrongValue says of a value that a flag did not take what it takes.
func wrongValue(flag pflag.Value, value string, err error) error {
	kind, known := kinds[flag.Type()]
	switch {
	case !known:
		return err
	case errors.Is(err, strconv.ErrRange):
		kind += ", and is out of range"
	}
	return fmt.Errorf("%q must be %s", value, kind)
}

// wrongFlag is wrongValue for what was given on the command line.
func wrongFlag(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	return fmt.Errorf("--%s %w", bad.GetFlag().Name, wrongValue(bad.GetFlag().Value, bad.GetValue(), bad.Unwrap()))
}

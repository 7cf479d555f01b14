package main

import (
	"strings"
	"testing"
)

// A key file without a key is not taken for no key.
func TestAnEmptyKeyFile(t *testing.T) {
	empty := file(t, " \n")
	for _, args := range [][]string{{"route", "list"}, {"node", "--id", "n"}} {
		err := outcome(t.Context(), append(args, "--key-file", empty)...)
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), empty+" is empty") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// chpTokenFromCHP takes the token from where configurable-http-proxy and its
// image have it, CONFIGPROXY_AUTH_TOKEN and CONFIGPROXY_AUTH_TOKEN_FILE, unless
// it was given otherwise. A file that is named must hold one: without it, a
// client that has it would be refused for no reason to be seen.
func chpTokenFromCHP(p *planeFlags) error {
	token, file := os.Getenv("CONFIGPROXY_AUTH_TOKEN"), os.Getenv("CONFIGPROXY_AUTH_TOKEN_FILE")
	switch {
	case p.chp != "":
		return nil
	case token != "" && file != "":
		return &usageError{errors.New("CONFIGPROXY_AUTH_TOKEN and CONFIGPROXY_AUTH_TOKEN_FILE are alternatives")}
	case file == "":
		p.chp = token
		return nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own file
	if err != nil {
		return &usageError{fmt.Errorf("CONFIGPROXY_AUTH_TOKEN_FILE: %w", err)}
	}
	if p.chp = strings.TrimSpace(string(text)); p.chp == "" {
		return &usageError{fmt.Errorf("CONFIGPROXY_AUTH_TOKEN_FILE: %s holds no token", file)}
	}
	return nil
}

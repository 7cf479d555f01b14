package main

import (
	"strings"
	"testing"
)

func TestTheTokenComesFromWhereCHPHasIt(t *testing.T) {
	held := file(t, "  from-a-file\n")
	for name, c := range map[string]struct {
		flag, env, file string
		want, says      string
	}{
		"nowhere":                     {},
		"the environment":             {env: "from-env", want: "from-env"},
		"a file":                      {file: held, want: "from-a-file"},
		"the flag wins":               {flag: "from-flag", env: "from-env", file: held, want: "from-flag"},
		"both are one too many":       {env: "from-env", file: held, says: "alternatives"},
		"a file that is not there":    {file: held + ".gone", says: "CONFIGPROXY_AUTH_TOKEN_FILE"},
		"a file that holds no token ": {file: file(t, "\n"), says: "holds no token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CONFIGPROXY_AUTH_TOKEN", c.env)
			t.Setenv("CONFIGPROXY_AUTH_TOKEN_FILE", c.file)
			p := planeFlags{chp: c.flag}
			err := chpTokenFromCHP(&p)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || exitCode(err) != exitUsage {
					t.Fatalf("it says %v, want %q as a wrong usage", err, c.says)
				}
				return
			}
			if err != nil || p.chp != c.want {
				t.Fatalf("the token is %q, %v; want %q", p.chp, err, c.want)
			}
		})
	}
}

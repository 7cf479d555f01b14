package main

import (
	"strings"
	"testing"
)

func TestTheAdminKeyComesFromAFile(t *testing.T) {
	held := file(t, "  from-a-file\n")
	for name, c := range map[string]struct {
		flag, file string
		want, says string
	}{
		"nowhere":                    {},
		"the flag":                   {flag: "from-flag", want: "from-flag"},
		"a file":                     {file: held, want: "from-a-file"},
		"both are one too many":      {flag: "from-flag", file: held, says: "alternatives"},
		"a file that is not there":   {file: held + ".gone", says: "--admin-key-file: open"},
		"a file that holds no token": {file: file(t, "\n"), says: "holds no key"},
	} {
		t.Run(name, func(t *testing.T) {
			p := planeFlags{admin: c.flag, adminFile: c.file}
			err := p.readAdminKey()
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || exitCode(err) != exitUsage {
					t.Fatalf("it says %v, want %q as a wrong usage", err, c.says)
				}
				return
			}
			if err != nil || p.admin != c.want {
				t.Fatalf("the key is %q, %v; want %q", p.admin, err, c.want)
			}
		})
	}
}

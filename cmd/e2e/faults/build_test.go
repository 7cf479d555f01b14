//go:build e2e

package faults

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

// otherStamp is the version of the other program.
const otherStamp = "another-version"

// build makes the program of this tree again, with another version.
func (r *run) build(ctx context.Context) (string, error) {
	out := filepath.Join(r.TempDir(), "signalbox")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X main.version="+otherStamp, "-o", out, "signalbox/cmd/signalbox")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	_, err := output(cmd)
	return out, err
}

// skewed is a program whose clock can be off, or why there is none.
func skewed() (program, why string) {
	program = os.Getenv("SIGNALBOX_E2E_SKEWED")
	if program == "" {
		return "", "SIGNALBOX_E2E_SKEWED names no program of scripts/skewed"
	}
	return program, ""
}

//go:build e2e

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// chooseDriver lays out a cluster with the driver that is asked for, or that
// works here.
func chooseDriver(t testing.TB) (*lab, error) {
	t.Helper()
	const choice = "SIGNALBOX_FAULTS_DRIVER"
	_, noTool := exec.LookPath("ip")
	docker, noDocker := newEngine()
	switch wanted := os.Getenv(choice); {
	case wanted == "namespaces":
		return newNamespacesLab(t.TempDir())
	case wanted == "compose" && noDocker != nil:
		return nil, noDocker
	case wanted == "compose" || wanted == "" && noDocker == nil:
		return newComposeLab(t, docker)
	case wanted != "":
		return nil, fmt.Errorf("%s is %q; it can be compose or namespaces", choice, wanted)
	case os.Geteuid() == 0 && noTool == nil:
		return newNamespacesLab(t.TempDir())
	}
	t.Skip("SKIPPED: no Docker daemon answers, and for network namespaces it takes root and the tool ip")
	return nil, nil
}

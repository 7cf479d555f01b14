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
	switch os.Getenv(choice) {
	case "namespaces":
		return newNamespacesLab(t.TempDir())
	case "":
	default:
		return nil, fmt.Errorf("%s is %q; it can be compose or namespaces", choice, os.Getenv(choice))
	}
	_, noTool := exec.LookPath("ip")
	if os.Geteuid() == 0 && noTool == nil {
		return newNamespacesLab(t.TempDir())
	}
	t.Skip("SKIPPED: no Docker daemon answers, and for network namespaces it takes root and the tool ip")
	return nil, nil
}

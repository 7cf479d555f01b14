// Package e2e proves what Signalbox promises, on the whole of it: control
// planes, gateways and nodes that meet on real sockets.
//
// Most files begin with the promise they prove. Those without a build tag run
// every part inside the test's process, over a store in memory, and belong to
// `make test`. Those tagged e2e run bin/signalbox, kill it, freeze it and read
// its logs, and belong to `make e2e`.
//
// SIGNALBOX_BIN names another program to run, SIGNALBOX_E2E_SOCKETS how many
// WebSockets to hold open, as far as the limit of open files allows,
// SIGNALBOX_E2E_SEED the number that chance comes from, as a test logs it, and
// SIGNALBOX_E2E_SKEWED a program as scripts/skewed builds it.
package e2e

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(echoOnly) != "" {
		echo()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

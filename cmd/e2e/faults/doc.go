// Package faults breaks a whole cluster, part by part, while it is used, and
// proves what must hold all the same: nodes that are up fail nobody, writes are
// refused for moments and clearly, no write that was acknowledged is lost, and
// none that was refused is done.
//
// The scenarios are written once, over a driver that starts, kills, freezes and
// replaces parts. Two drivers exist: containers of deploy/lab's compose file,
// and processes in network namespaces. All tests have the build tag e2e, need
// root, and share one cluster; scripts/e2e runs them.
//
// SIGNALBOX_FAULTS_DRIVER chooses the driver, "compose" or "namespaces"; the
// default is containers where a Docker daemon answers. SIGNALBOX_BIN names
// another program than bin/signalbox for the namespaces, and
// SIGNALBOX_E2E_SKEWED one as scripts/skewed builds it.
package faults

package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// outcome runs a command line that prints to nobody.
func outcome(ctx context.Context, args ...string) error {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	return root.ExecuteContext(ctx)
}

// Every command says soon, and why, that an etcd is not reached.
func TestAnEtcdThatIsNotReached(t *testing.T) {
	for _, args := range []string{"status", "members", "compact", "defragment", "disarm", "add c http://127.0.0.1:1", "promote c", "remove c"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // --timeout may be longer
			defer cancel()
			err := outcome(ctx, append([]string{"etcd", "--etcd", "http://127.0.0.1:1", "--timeout", "10m"}, strings.Fields(args)...)...)
			if ctx.Err() != nil || exitCode(err) != exitUnavailable || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("it says %v (%d)", err, exitCode(err))
			}
		})
	}
}

// What can be no member of an etcd is refused at once.
func TestEndpointsOfEtcd(t *testing.T) {
	for endpoint, right := range map[string]bool{
		"http://127.0.0.1:2379": true, "https://etcd.internal:2379/": true, "etcd:2379": true, "[::1]:2379": true, "http://[::1]:2379": true,
		"garbage": false, "http://etcd": false, ":2379": false, "ftp://etcd:2379": false, "http://etcd:nope": false,
		"http://etcd:2379/path": false, "http://a:b@etcd:2379": false, "": false,
	} {
		if err := checkEndpoints([]string{"a:1", endpoint}); (err == nil) != right || err != nil && exitCode(err) != exitUsage {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	for _, args := range [][]string{{"controlplane", "--etcd", "garbage"}, {"etcd", "status", "--etcd", "garbage"}} {
		if err := outcome(t.Context(), args...); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--etcd") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// Nothing can be done in no time.
func TestTimesThatAreNone(t *testing.T) {
	for _, args := range [][]string{{"route", "list"}, {"backup", "b.db"}, {"etcd", "status"}, {"health", "http://127.0.0.1:1"}} {
		for _, none := range []string{"0", "-1s"} {
			err := outcome(t.Context(), append(args, "--timeout", none)...)
			if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--timeout") {
				t.Errorf("%v with %s: %v", args, none, err)
			}
		}
	}
}

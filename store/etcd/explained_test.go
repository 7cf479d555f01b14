package etcd_test

import (
	"errors"
	"strings"
	"testing"

	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// Why an etcd is not reached is said, and not only that it does not answer.
func TestWhyEtcdIsNotReached(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:1":                          "connection refused",
		member(t, embedded.Config{}).ClientAddrs()[0]: "",
	} {
		k := open(t, etcd.Config{Endpoints: []string{endpoint}})
		lost := errors.New("no answer")
		said := etcd.Explained(k, t.Context(), lost)
		if !errors.Is(said, lost) || !strings.Contains(said.Error(), want) || want == "" && said.Error() != lost.Error() {
			t.Errorf("%s: %v", endpoint, said)
		}
	}
}

package upstream

import "testing"

// The totals are of all pools, also of those that are no more.
func TestTotalsOutliveTheirPools(t *testing.T) {
	o := raw(t, keepAnswering(ok))
	p := pool(t, Config{}, o.addr)
	reg := p.registry
	get(t, p, Options{})
	get(t, p, Options{})
	if got := reg.Totals(); got != (Totals{Open: 1, Opened: 1, Reused: 1}) {
		t.Errorf("after two requests: %+v", got)
	}
	bad, err := reg.Acquire(Target{Address: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := bad.RoundTrip(request(t, "GET", nil), Options{}); err == nil {
		t.Error("something listens at port 1")
	}
	bad.Release()
	if got := reg.Totals(); got.Failed != 1 || got.Opened != 1 {
		t.Errorf("after a failed attempt: %+v", got)
	}
}

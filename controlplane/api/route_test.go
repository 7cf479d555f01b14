package api_test

import (
	"testing"

	"signalbox/store/mem"
)

func TestSmoke(t *testing.T) {
	p := start(t, mem.New())
	r := p.put(route("a", "/a/"))
	t.Log(r)
	r = p.put(route("a", "/b/"))
	t.Log(r)
	_ = version
}

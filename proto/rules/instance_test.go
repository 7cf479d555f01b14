package rules_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

func TestInstance(t *testing.T) {
	good := func(change func(*signalboxv1.Instance)) *signalboxv1.Instance {
		i := &signalboxv1.Instance{Name: "0a1b2c3d", Url: "server://key@:10101/127.0.0.1:8080?tls=1"}
		change(i)
		return i
	}
	tags := map[string]string{}
	for i := range 65 {
		tags[fmt.Sprint(i)] = ""
	}
	for name, c := range map[string]struct {
		instance *signalboxv1.Instance
		fields   []string
	}{
		"the least there can be": {good(func(*signalboxv1.Instance) {}), nil},
		"everything": {good(func(i *signalboxv1.Instance) {
			i.Alias, i.Wanted, i.Restart = strings.Repeat("ü", 256), signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED, true
			i.Placement = &signalboxv1.Placement{Every: true, Labels: []string{"zone=a", "ssd"}, Nodes: []string{"node-1.example"}}
			i.Isolation = signalboxv1.Isolation_ISOLATION_STOP
			i.Tags = map[string]string{"team": "a\nb"}
			i.Peer = &signalboxv1.InstancePeer{Sid: "1", Type: "2", Alias: "3"}
		}), nil},
		"nothing":    {nil, []string{"instance"}},
		"empty":      {&signalboxv1.Instance{}, []string{"name", "url"}},
		"a name":     {good(func(i *signalboxv1.Instance) { i.Name = "A" }), []string{"name"}},
		"an alias":   {good(func(i *signalboxv1.Instance) { i.Alias = strings.Repeat("x", 257) }), []string{"alias"}},
		"no tunnel":  {good(func(i *signalboxv1.Instance) { i.Url = "server:///127.0.0.1:8080" }), []string{"url"}},
		"a long url": {good(func(i *signalboxv1.Instance) { i.Url += strings.Repeat("x", 4096) }), []string{"url"}},
		"a key that was not shown": {good(func(i *signalboxv1.Instance) {
			i.Url = "server://********@:10101/127.0.0.1:8080"
		}), []string{"url"}},
		"unknown values": {good(func(i *signalboxv1.Instance) { i.Wanted, i.Isolation = 7, 9 }), []string{"wanted", "isolation"}},
		"places": {good(func(i *signalboxv1.Instance) {
			i.Placement = &signalboxv1.Placement{Labels: []string{"a", "=b"}, Nodes: []string{"n", "no spaces"}}
		}), []string{"placement.labels[1]", "placement.nodes[1]"}},
		"a tag":         {good(func(i *signalboxv1.Instance) { i.Tags = map[string]string{"": "x"} }), []string{`tags[""]`}},
		"a tag's value": {good(func(i *signalboxv1.Instance) { i.Tags = map[string]string{"k": strings.Repeat("x", 257)} }), []string{`tags["k"]`}},
		"many tags":     {good(func(i *signalboxv1.Instance) { i.Tags = tags }), []string{"tags"}},
		"a peer": {good(func(i *signalboxv1.Instance) {
			long := strings.Repeat("x", 257)
			i.Peer = &signalboxv1.InstancePeer{Sid: long, Type: long, Alias: long}
		}), []string{"peer.sid", "peer.type", "peer.alias"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := rules.Instance(c.instance)
			var invalid *rules.Invalid
			var fields []string
			if errors.As(err, &invalid) {
				for _, v := range invalid.Violations {
					fields = append(fields, v.Field)
				}
			}
			if !slices.Equal(fields, c.fields) {
				t.Errorf("got %v, want violations of %q", err, c.fields)
			}
			if err != nil && strings.Contains(err.Error(), "key@") {
				t.Errorf("the key is told: %v", err)
			}
		})
	}
}

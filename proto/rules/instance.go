package rules

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// Limits of an instance's texts, in characters, and of its tags.
const (
	maxInstanceText = 256
	maxTags         = 64
	maxPlacedNodes  = 256
)

// hidden is what is shown in place of a key to those who may not know it.
const hidden = "********"

// Instance returns nil, or an *Invalid naming every field that is wrong. What
// the server fills in is not looked at.
func Instance(i *signalboxv1.Instance) error {
	if i == nil {
		return &Invalid{Violations: []Violation{{Field: "instance", Reason: "is missing"}}}
	}
	var f findings
	f.wrap("name", InstanceName(i.GetName()))
	f.wrap("", InstanceText(i.GetAlias(), i.GetTags(), i.GetPeer()))
	u, err := tunnelurl.Parse(i.GetUrl())
	f.wrap("url", err)
	if err == nil && u.Key == hidden {
		f.add("url", "has %q in place of its key, as it is shown to those who may not know it; give the key", hidden)
	}
	if w := i.GetWanted(); signalboxv1.InstanceWanted_name[int32(w)] == "" {
		f.add("wanted", "%d is not a known value", w)
	}
	f.wrap("placement", placement(i.GetPlacement()))
	if o := i.GetIsolation(); signalboxv1.Isolation_name[int32(o)] == "" {
		f.add("isolation", "%d is not a known value", o)
	}
	return f.err()
}

// InstanceName reports what is wrong with an instance's name.
func InstanceName(name string) error { return simple(name) }

// InstanceText is Instance for what people note of one, which changes nothing
// of what it does.
func InstanceText(alias string, tags map[string]string, peer *signalboxv1.InstancePeer) error {
	var f findings
	f.wrap("alias", short(alias))
	if len(tags) > maxTags {
		f.add("tags", "holds %d tags; at most %d are allowed", len(tags), maxTags)
	}
	for k, v := range tags {
		at := fmt.Sprintf("tags[%q]", k)
		if k == "" {
			f.add(at, "a tag's key must not be empty")
		}
		f.wrap(at, short(k))
		f.wrap(at, short(v))
	}
	f.wrap("peer.sid", short(peer.GetSid()))
	f.wrap("peer.type", short(peer.GetType()))
	f.wrap("peer.alias", short(peer.GetAlias()))
	return f.err()
}

// short reports what is wrong with a text of an instance: that it is too long.
func short(s string) error {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	case n > maxInstanceText:
		return fmt.Errorf("is %d characters long; at most %d are allowed", n, maxInstanceText)
	}
	return nil
}

// placement checks where an instance may run.
func placement(p *signalboxv1.Placement) error {
	var f findings
	if n := len(p.GetLabels()); n > maxLabels {
		f.add("labels", "holds %d labels; at most %d are allowed", n, maxLabels)
	}
	for i, l := range p.GetLabels() {
		at := fmt.Sprintf("labels[%d]", i)
		key, value, _ := strings.Cut(l, "=")
		if key == "" {
			f.add(at, "must be \"key=value\" or \"key\"")
		}
		f.wrap(at, text(key, maxLabel))
		f.wrap(at, text(value, maxLabel))
	}
	if n := len(p.GetNodes()); n > maxPlacedNodes {
		f.add("nodes", "holds %d names; at most %d are allowed", n, maxPlacedNodes)
	}
	for i, n := range p.GetNodes() {
		f.wrap(fmt.Sprintf("nodes[%d]", i), NodeName(n))
	}
	return f.err()
}

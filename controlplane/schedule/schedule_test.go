package schedule_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"signalbox/controlplane/schedule"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func live(name string, labels ...string) schedule.Node {
	n := schedule.Node{Name: name, Live: true, Labels: map[string]string{}}
	for _, l := range labels {
		n.Labels[l] = "yes"
	}
	return n
}

func lost(name string, d time.Duration) schedule.Node { return schedule.Node{Name: name, Lost: d} }

func draining(name string) schedule.Node {
	return schedule.Node{Name: name, Live: true, Draining: true}
}

func instance(p *signalboxv1.Placement, nodes ...string) schedule.Instance {
	return schedule.Instance{Nodes: nodes, Instance: &signalboxv1.Instance{
		Name: "i", Url: "server://:1000/127.0.0.1:2000", Placement: p,
	}}
}

func TestWhereAnInstanceRuns(t *testing.T) {
	stopped, isolated := instance(nil, "a"), instance(nil, "a")
	stopped.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
	isolated.Isolation = signalboxv1.Isolation_ISOLATION_STOP
	leaving, settling := instance(nil), instance(nil)
	leaving.Isolation, leaving.Running = signalboxv1.Isolation_ISOLATION_STOP, []string{"a"}
	settling.Isolation, settling.Settling = signalboxv1.Isolation_ISOLATION_STOP, true
	every, labelled := &signalboxv1.Placement{Every: true}, &signalboxv1.Placement{Labels: []string{"edge", "eu=yes"}}
	stays := []string{"stays"}
	for name, c := range map[string]struct {
		i     schedule.Instance
		nodes []schedule.Node
		want  []string
	}{
		"with no node it is nowhere":                         {instance(nil), nil, stays},
		"it is given to a live node":                         {instance(nil), []schedule.Node{live("a"), lost("b", time.Hour)}, []string{"a"}},
		"it stays where it is":                               {instance(nil, "b"), []schedule.Node{live("a"), live("b")}, stays},
		"it moves when its node is lost":                     {instance(nil, "a"), []schedule.Node{lost("a", time.Second), live("b")}, []string{"b"}},
		"it moves when its node is forgotten":                {instance(nil, "a"), []schedule.Node{live("b")}, []string{"b"}},
		"it waits for a node that may be coming":             {instance(nil, "a"), []schedule.Node{{Name: "a"}, live("b")}, stays},
		"with no other it is where it was":                   {instance(nil, "a"), []schedule.Node{lost("a", time.Hour)}, stays},
		"stopped it stays, wherever that is":                 {stopped, []schedule.Node{live("b")}, stays},
		"one that never runs twice waits":                    {isolated, []schedule.Node{lost("a", 14*time.Second), live("b")}, stays},
		"one that never runs twice waits no longer":          {isolated, []schedule.Node{lost("a", 15*time.Second), live("b")}, []string{"b"}},
		"it leaves a node that drains":                       {instance(nil, "a"), []schedule.Node{draining("a"), live("b")}, []string{"b"}},
		"it stays on a node that drains if there is no more": {instance(nil, "a"), []schedule.Node{draining("a"), draining("b")}, stays},
		"a node that drains is better than none":             {instance(nil), []schedule.Node{draining("a")}, []string{"a"}},
		"one that never runs twice is first taken away":      {isolated, []schedule.Node{draining("a"), live("b")}, nil},
		"and not given to another while it may run":          {leaving, []schedule.Node{draining("a"), live("b")}, stays},
		"nor while its node is lost only shortly":            {leaving, []schedule.Node{lost("a", 14*time.Second), live("b")}, stays},
		"but when that cannot be any more":                   {leaving, []schedule.Node{lost("a", 15*time.Second), live("b")}, []string{"b"}},
		"nor before all have heard that it was taken away":   {settling, []schedule.Node{live("a"), live("b")}, stays},
		"one whose node nobody has heard of counts its time": {isolated, []schedule.Node{lost("a", 10*time.Second), live("b")}, stays},
		"every node that drains, where there are no others":  {instance(every), []schedule.Node{draining("a"), draining("b"), lost("c", 1)}, []string{"a", "b"}},
		"labels choose": {instance(labelled), []schedule.Node{live("a", "edge"), live("b", "edge", "eu")}, []string{"b"}},
		"it leaves a node that has lost its label": {instance(labelled, "a"), []schedule.Node{live("a", "edge")}, nil},
		"names choose":               {instance(&signalboxv1.Placement{Nodes: []string{"b"}}), []schedule.Node{live("a"), live("b")}, []string{"b"}},
		"every node":                 {instance(every, "c"), []schedule.Node{live("a"), draining("b"), lost("c", time.Hour), lost("d", 1)}, []string{"a", "c"}},
		"every node with the labels": {instance(&signalboxv1.Placement{Every: true, Labels: []string{"edge=yes"}}), []schedule.Node{live("a"), live("b", "edge")}, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, moved := schedule.Decide([]schedule.Instance{c.i}, c.nodes)["i"]
			if reflect.DeepEqual(c.want, stays) {
				if moved {
					t.Errorf("it is on %v now", got)
				}
				return
			}
			if !moved || !slices.Equal(got, c.want) {
				t.Errorf("it is on %v (%v), want %v", got, moved, c.want)
			}
		})
	}
}

func TestInstancesWithOnePortGoToDifferentNodes(t *testing.T) {
	var all []schedule.Instance
	for k := range 3 {
		all = append(all, schedule.Instance{Instance: &signalboxv1.Instance{Name: fmt.Sprint(k), Url: "server://:1000/10.0.0.1:80"}})
	}
	on := map[string]int{}
	for _, nodes := range schedule.Decide(all, []schedule.Node{live("a"), live("b"), live("c")}) {
		on[nodes[0]]++
	}
	if len(on) != 3 {
		t.Errorf("they are on %v", on)
	}
}

// Whatever happens: an instance for one node is on one, that may have it; it
// leaves a node only for a reason; and deciding again changes nothing more.
func TestDecisionsStand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d"}
		var nodes []schedule.Node
		for _, name := range names {
			nodes = append(nodes, schedule.Node{
				Name: name, Live: rapid.Bool().Draw(t, "live"), Draining: rapid.Bool().Draw(t, "draining"),
				Lost:   time.Duration(rapid.IntRange(0, 20).Draw(t, "lost")) * time.Second,
				Labels: map[string]string{"zone": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "zone")},
			})
		}
		var all []schedule.Instance
		for k := range rapid.IntRange(1, 6).Draw(t, "instances") {
			i := instance(&signalboxv1.Placement{Every: rapid.Bool().Draw(t, "every")})
			i.Name = fmt.Sprint(k)
			if rapid.Bool().Draw(t, "isolated") {
				i.Isolation = signalboxv1.Isolation_ISOLATION_STOP
			}
			if rapid.Bool().Draw(t, "running") {
				i.Running = []string{rapid.SampledFrom(names).Draw(t, "on")}
			}
			if rapid.Bool().Draw(t, "labelled") {
				i.Placement.Labels = []string{"zone=x"}
			}
			if rapid.Bool().Draw(t, "placed") {
				i.Nodes = []string{rapid.SampledFrom(names).Draw(t, "at")}
			}
			all = append(all, i)
		}
		anew := schedule.Decide(all, nodes)
		for k := range all {
			to, moved := anew[all[k].GetName()]
			if !moved {
				continue
			}
			if all[k].GetIsolation() == signalboxv1.Isolation_ISOLATION_STOP && !all[k].GetPlacement().GetEvery() && len(to) > 0 {
				for _, name := range append(all[k].Running, all[k].Nodes...) {
					if n := nodes[slices.Index(names, name)]; name != to[0] && (n.Live || n.Lost < schedule.IsolationWait) {
						t.Fatalf("%s was given to %v while %s may run it", all[k].GetName(), to, name)
					}
				}
			}
			all[k].Nodes = to
			if !all[k].GetPlacement().GetEvery() && len(to) > 1 {
				t.Fatalf("%s is on %v", all[k].GetName(), to)
			}
			for _, name := range to {
				n := nodes[slices.Index(names, name)]
				if len(all[k].GetPlacement().GetLabels()) > 0 && n.Labels["zone"] != "x" {
					t.Fatalf("%s is on %s, without the label", all[k].GetName(), name)
				}
				if !all[k].GetPlacement().GetEvery() && !n.Live {
					t.Fatalf("%s was given to %s, which is lost", all[k].GetName(), name)
				}
			}
		}
		// What must not run twice moves in two steps.
		for k := range all {
			if to, moved := schedule.Decide(all, nodes)[all[k].GetName()]; moved {
				if all[k].GetIsolation() != signalboxv1.Isolation_ISOLATION_STOP || len(all[k].Nodes) > 0 {
					t.Fatalf("%s was decided again: %v", all[k].GetName(), to)
				}
				all[k].Nodes = to
			}
		}
		if again := schedule.Decide(all, nodes); len(again) > 0 {
			t.Fatalf("decided a third time: %v", slices.Collect(maps.Keys(again)))
		}
	})
}

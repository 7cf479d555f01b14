package controlplane_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"signalbox/controlplane"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

// gather is what a collector tells, one sample a line; of histograms the count.
func gather(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range families {
		for _, m := range f.Metric {
			labels := map[string]string{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			fmt.Fprint(&out, strings.TrimPrefix(f.GetName(), "signalbox_controlplane_"))
			for _, name := range slices.Sorted(maps.Keys(labels)) {
				fmt.Fprintf(&out, " %s", labels[name])
			}
			fmt.Fprintf(&out, " %v\n", m.GetCounter().GetValue()+m.GetGauge().GetValue()+float64(m.GetHistogram().GetSampleCount()))
		}
	}
	return out.String()
}

// Metrics say what was asked for, and what became of it.
func TestMetrics(t *testing.T) {
	keeper := mem.New()
	ready := make(chan string, 1)
	cp := controlplane.New(controlplane.Config{
		ID: "one", Records: keeper, Notes: keeper, AdminKey: "secret-of-the-admin", LeaseTTL: time.Second,
		Ready: func(made string) { ready <- made }, Log: slog.New(slog.DiscardHandler),
	})
	if got := gather(t, cp); !strings.Contains(got, "revision 0\n") {
		t.Errorf("before it has read the store:\n%s", got)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cp.Run(ctx, controlplane.Endpoint{Listener: ln}) }()
	conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-ready
	routes, who := signalboxv1.NewRouteServiceClient(conn), as(t, "secret-of-the-admin")
	route := &signalboxv1.Route{Name: "a", Match: &signalboxv1.Match{PathPrefix: "/"}, Upstreams: []*signalboxv1.Upstream{{Url: "http://127.0.0.1:1"}}}
	put, err := routes.PutRoute(who, &signalboxv1.PutRouteRequest{Route: route})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := routes.ListRoutes(as(t, "wrong"), &signalboxv1.ListRoutesRequest{}); err == nil {
		t.Error("a wrong key was let in")
	}
	if _, err := routes.ListRoutes(t.Context(), &signalboxv1.ListRoutesRequest{}); err == nil {
		t.Error("no key was let in")
	}

	// A node that is fed, serves the whole state, and refuses a record of it.
	node, err := signalboxv1.NewFeedServiceClient(conn).Connect(who)
	if err != nil {
		t.Fatal(err)
	}
	say := func(m *signalboxv1.ConnectRequest) {
		if err := node.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: "n", Epoch: 1}}})
	ask := func() {
		say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Feed{Feed: &signalboxv1.Feed{}}})
	}
	ask()
	for served := false; !served; {
		m, err := node.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetUnfed() != nil { // it has no lease yet
			ask()
		}
		u := m.GetUpdate()
		if served = u != nil && u.GetPart() == u.GetParts(); served {
			say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Ack{Ack: &signalboxv1.Ack{Version: u.GetTo(), Rejections: []*signalboxv1.Rejection{
				{Kind: signalboxv1.Kind_KIND_ROUTE, Name: "a", Revision: put.GetRoute().GetMeta().GetRevision(), Reason: "no"},
			}}}})
		}
	}

	want := []string{
		"calls_total OK PutRoute RouteService 1", "calls_total Unauthenticated ListRoutes RouteService 2", "call_duration_seconds PutRoute RouteService 1",
		"streams_open Connect FeedService 1", "writes_total route ok 1", "records route 1", "records api_key 1",
		"refusals_total no_key 1", "refusals_total unknown_key 1", "updates_sent_total whole 1", "acks_received_total 1",
		"nodes live 1", "nodes lost 0", "nodes_behind 0", "rejections 1", "nodes_fed 1", "lease_held 1", "members 1",
		fmt.Sprintf("revision %d", put.GetRoute().GetMeta().GetRevision()), fmt.Sprintf("head_revision %d", put.GetRoute().GetMeta().GetRevision()),
	}
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got := gather(t, cp)
		missing := slices.DeleteFunc(slices.Clone(want), func(line string) bool { return strings.Contains("\n"+got, "\n"+line+"\n") })
		if len(missing) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("missing %q in\n%s", missing, got)
		}
	}
}

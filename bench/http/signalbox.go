package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"signalbox/bench/program"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// key is the admin key of the run, with which the node joins too.
const key = "a-key-for-one-benchmark-run"

// A signalbox is a node as it is deployed, fed by a control plane with its own
// etcd, which has next to nothing to do.
type signalbox struct {
	plane, node *program.Program
	admin       string // address of the node's admin endpoint
}

// startSignalbox starts both, with a route to an origin. The node is bound to
// the proxy's core, the control plane to the other.
func startSignalbox(ctx context.Context, o options, dir, from, to string) (_ *signalbox, err error) {
	bin, err := filepath.Abs(o.signalbox)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(bin); err != nil {
		return nil, fmt.Errorf("there is no program to measure; run `make build`: %w", err)
	}
	api, err := program.FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	s := new(signalbox)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.admin, err = program.FreeAddr(ctx); err != nil {
		return nil, err
	}
	s.plane, err = program.Start(ctx, "controlplane", dir, []string{"SIGNALBOX_ADMIN_KEY=" + key},
		append(program.Pin(o.loadCPU), bin, "controlplane", "--data-dir", filepath.Join(dir, "store"), "--grpc-listen", api, "--api-listen", "off")...)
	if err != nil {
		return nil, err
	}
	if err := putRoute(ctx, api, to); err != nil {
		return nil, s.plane.Wrong(err)
	}
	s.node, err = program.Start(ctx, "node", dir, []string{"SIGNALBOX_KEY=" + key, "GOMAXPROCS=1"},
		append(program.Pin(o.proxyCPU), bin, "node", "--controlplane", api, "--id", "bench", "--listen", from, "--admin-listen", s.admin)...)
	return s, err
}

// close ends both.
func (s *signalbox) close() {
	for _, p := range []*program.Program{s.node, s.plane} {
		if p != nil {
			p.Close()
		}
	}
}

// putRoute writes the one route there is, once the control plane is there.
func putRoute(ctx context.Context, api, to string) error {
	conn, err := grpc.NewClient(api, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key), program.Patience)
	defer cancel()
	_, err = signalboxv1.NewRouteServiceClient(conn).PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: &signalboxv1.Route{
		Name: "all", Match: &signalboxv1.Match{PathPrefix: "/user/name"}, Upstreams: []*signalboxv1.Upstream{{Url: "http://" + to}},
	}}, grpc.WaitForReady(true))
	return err
}

// profile stores a CPU profile of the node, taken while load runs.
func (s *signalbox) profile(ctx context.Context, file string, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d+program.Patience)
	defer cancel()
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.admin, max(1, int(d.Seconds())))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", res.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, res.Body)
	return errors.Join(err, out.Close())
}

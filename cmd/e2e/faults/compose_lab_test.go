//go:build e2e

package faults

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// composePrefix begins the names of our projects, followed by the process id of
// the test that made them.
const composePrefix = "signalbox-faults-"

const labScript = "../../../deploy/lab/lab"

// sweepLabs removes what tests left that were ended before they could clean up.
func (c *compose) sweepLabs() {
	out, _ := docker("ps", "-a", "--format", "{{.Label \"com.docker.compose.project\"}}")
	seen := map[string]bool{}
	for project := range strings.Lines(out) {
		project = strings.TrimSpace(project)
		pid, err := strconv.Atoi(strings.TrimPrefix(project, composePrefix))
		if err == nil && strings.HasPrefix(project, composePrefix) && !seen[project] && syscall.Kill(pid, 0) != nil {
			seen[project] = true
			old := &compose{project: project}
			_, _ = old.lab("down")
		}
	}
}

// newComposeLab brings up a lab.
func newComposeLab(t testing.TB, e *engine) (*lab, error) {
	t.Helper()
	c := &compose{
		dir: t.TempDir(), project: composePrefix + strconv.Itoa(os.Getpid()), engine: e,
		image: os.Getenv("SIGNALBOX_IMAGE"), all: map[*part]*box{}, images: map[string]string{},
	}
	if c.image == "" {
		c.image = "signalbox:latest"
	}
	if err := e.call("GET", "/images/"+c.image+"/json", nil, nil); err != nil {
		return nil, fmt.Errorf("no image to test; run `make image`: %w", err)
	}
	c.sweepLabs()
	if out, err := c.lab("up"); err != nil {
		c.close()
		return nil, fmt.Errorf("lab up: %w: %s", err, out)
	}
	l := &lab{driver: c, operator: c, state: func(*part) string { return "/var/lib/signalbox/etcd" }}
	if err := errors.Join(c.find(l), c.credentials(l)); err != nil {
		c.close()
		return nil, err
	}
	return l, nil
}

// lab runs the script that brings labs up and down.
func (c *compose) lab(command string) (string, error) {
	cmd := exec.Command(labScript, command)
	cmd.Env = append(os.Environ(), "LAB_PROJECT="+c.project, "NODES=3")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// find makes parts of the lab's containers, and finds out where this test is
// for them.
func (c *compose) find(l *lab) error {
	filter := `?filters={"label":["com.docker.compose.project=` + c.project + `"]}`
	var found []struct {
		Id     string //nolint:revive // as in the field's name
		Labels map[string]string
	}
	if err := c.engine.call("GET", "/containers/json"+filter, nil, &found); err != nil {
		return err
	}
	for _, f := range found {
		service, number := f.Labels["com.docker.compose.service"], f.Labels["com.docker.compose.container-number"]
		p := &part{name: service, id: service}
		switch {
		case strings.HasPrefix(service, "etcd"):
			p.kind = member
		case strings.HasPrefix(service, "cp"):
			p.kind = plane
		case service == "gateway":
			p.kind = gateway
		case service == "node":
			p.kind, p.name, p.id = node, service+number, f.Id[:12] // the container's host name
		default:
			continue
		}
		c.all[p] = &box{id: f.Id}
		l.parts = append(l.parts, p)
	}
	slices.SortFunc(l.parts, func(a, b *part) int { return strings.Compare(a.name, b.name) })
	var nets []struct {
		IPAM struct{ Config []struct{ Gateway string } }
	}
	if err := c.engine.call("GET", "/networks"+filter, nil, &nets); err != nil {
		return err
	}
	if len(nets) != 1 || len(nets[0].IPAM.Config) == 0 {
		return fmt.Errorf("the lab has these networks: %v", nets)
	}
	l.host = nets[0].IPAM.Config[0].Gateway
	return nil
}

// credentials takes the admin key, the authority and an operator's certificate
// from what the lab leaves on this machine, and from a control plane what lets it in to etcd.
func (c *compose) credentials(l *lab) error {
	state := filepath.Join(filepath.Dir(labScript), "state", c.project)
	key, err := os.ReadFile(filepath.Join(state, "admin.key"))
	if err != nil {
		return err
	}
	l.admin = strings.TrimSpace(string(key))
	authority, err := os.ReadFile(filepath.Join(state, "ca.pem"))
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	id := c.all[l.named("cp1")].id
	from, err := c.engine.inspect(id)
	if err != nil {
		return err
	}
	for _, e := range []string{"SIGNALBOX_ETCD", "SIGNALBOX_ETCD_CA", "SIGNALBOX_ETCD_CERT", "SIGNALBOX_ETCD_CERT_KEY"} {
		c.access = append(c.access, e+"="+from.variable(e))
	}
	// Beside a control plane, we show its certificate to it.
	c.access = append(c.access, "SIGNALBOX_CONTROLPLANE=controlplanes:8002", "SIGNALBOX_CONTROLPLANE_CA="+from.variable("SIGNALBOX_GRPC_TLS_CLIENT_CA"),
		"SIGNALBOX_CONTROLPLANE_CERT="+from.variable("SIGNALBOX_GRPC_TLS_CERT"), "SIGNALBOX_CONTROLPLANE_CERT_KEY="+from.variable("SIGNALBOX_GRPC_TLS_KEY"),
		"SIGNALBOX_KEY="+l.admin)
	first, err := c.engine.inspect(c.all[l.of(member)[0]].id)
	if err != nil {
		return err
	}
	l.members = first.variable("SIGNALBOX_INITIAL_CLUSTER")
	var files []string
	for _, name := range []string{"SIGNALBOX_ETCD_CERT", "SIGNALBOX_ETCD_CERT_KEY", "SIGNALBOX_ETCD_CA"} {
		file := filepath.Join(c.dir, name)
		if _, err := docker("cp", "-L", id+":"+from.variable(name), file); err != nil {
			return err
		}
		files = append(files, file)
	}
	own, err := tls.LoadX509KeyPair(files[0], files[1])
	if err != nil {
		return err
	}
	members, err := os.ReadFile(files[2])
	if err != nil {
		return err
	}
	ofEtcd := x509.NewCertPool()
	ofEtcd.AppendCertsFromPEM(members)
	operator, err := tls.LoadX509KeyPair(filepath.Join(state, "operator.pem"), filepath.Join(state, "operator.key"))
	if err != nil {
		return err
	}
	l.tls = &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{operator}}
	l.etcdTLS = &tls.Config{RootCAs: ofEtcd, Certificates: []tls.Certificate{own}}
	return nil
}

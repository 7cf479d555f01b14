//go:build e2e

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// An engine is the API of Docker's daemon, of which a version is spoken that
// daemons from 20.10 to today know.
type engine struct{ client *http.Client }

// newEngine finds the daemon's socket. It fails if no daemon answers there.
func newEngine() (*engine, error) {
	socket := "/var/run/docker.sock"
	if host, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://"); ok {
		socket = host
	}
	e := &engine{&http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
	return e, e.call("GET", "/_ping", nil, nil)
}

// call makes a call, with a body in JSON if there is one, and reads the answer
// into a value if that is not nil.
func (e *engine) call(method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, "http://docker/v1.41"+path, in)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := e.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("docker: %s %s: %s", method, path, bytes.TrimSpace(text))
	}
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// A container is what the daemon says of one, as far as it is asked here. What
// is made anew of it is made of Config and HostConfig as they are.
type container struct {
	ID     string `json:"Id"`
	Name   string
	Config map[string]any
	Host   map[string]any `json:"HostConfig"`
	State  struct{ Pid int }
	Mounts []struct{ Type, Name, Destination string }
	Nets   struct {
		Networks map[string]struct {
			IPAddress string
			Aliases   []string
		}
	} `json:"NetworkSettings"`
}

func (e *engine) inspect(id string) (container, error) {
	var c container
	return c, e.call("GET", "/containers/"+id+"/json", nil, &c)
}

// variable is one of a container's environment.
func (c container) variable(name string) string {
	all, _ := c.Config["Env"].([]any)
	for _, e := range all {
		if value, ok := strings.CutPrefix(fmt.Sprint(e), name+"="); ok {
			return value
		}
	}
	return ""
}

// again makes a container in place of one that does not run, from an image and
// with additions to its environment: same name, same volumes, same place on the
// networks. It returns the new one's id, and which volumes nobody would remove
// with it.
func (e *engine) again(old container, image string, env []string) (id string, volumes []string, err error) {
	config, host := old.Config, old.Host
	config["Image"], config["Env"] = image, with(config["Env"], env)
	binds, _ := host["Binds"].([]any)
	for _, m := range old.Mounts {
		if m.Type == "volume" && !strings.Contains(fmt.Sprint(binds), ":"+m.Destination) {
			binds, volumes = append(binds, m.Name+":"+m.Destination+":rw"), append(volumes, m.Name)
		}
	}
	host["Binds"] = binds
	endpoints := map[string]any{}
	for name, net := range old.Nets.Networks {
		var aliases []string
		for _, a := range net.Aliases {
			if !strings.HasPrefix(old.ID, a) {
				aliases = append(aliases, a)
			}
		}
		endpoints[name] = map[string]any{"Aliases": aliases}
	}
	if err := e.call("DELETE", "/containers/"+old.ID, nil, nil); err != nil {
		return "", nil, err
	}
	body := map[string]any{"HostConfig": host, "NetworkingConfig": map[string]any{"EndpointsConfig": endpoints}}
	for k, v := range config {
		body[k] = v
	}
	var made struct{ Id string } //nolint:revive // as in the field's name
	err = e.call("POST", "/containers/create?name="+strings.TrimPrefix(old.Name, "/"), body, &made)
	return made.Id, volumes, err
}

// with is an environment in which some variables have other values.
func with(env any, changes []string) []string {
	var all []string
	had, _ := env.([]any)
	for _, e := range had {
		name, _, _ := strings.Cut(fmt.Sprint(e), "=")
		replaced := false
		for _, c := range changes {
			replaced = replaced || strings.HasPrefix(c, name+"=")
		}
		if !replaced {
			all = append(all, fmt.Sprint(e))
		}
	}
	return append(all, changes...)
}

// docker runs Docker's own client.
func docker(args ...string) (string, error) {
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

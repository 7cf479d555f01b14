//go:build e2e

package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// compose is the driver of containers: a lab as `make lab` brings it up, as a
// project of its own, with TLS between all parts.
type compose struct {
	dir     string
	project string
	engine  *engine
	image   string   // what the lab runs
	access  []string // environment of operators

	mu      sync.Mutex
	all     map[*part]*box
	images  map[string]string // made here, by program
	volumes []string          // that go with no container
	closed  bool
}

// A box is a part's container.
type box struct {
	id      string
	release release
	env     any    // of the first container, which releases add to
	before  string // logs of the containers it has had before
}

func (c *compose) start(p *part, r release) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("the cluster is gone")
	}
	b := c.all[p]
	if b.release.program != r.program || !slices.Equal(b.release.env, r.env) {
		if err := c.replace(b, r); err != nil {
			return err
		}
	}
	if err := c.engine.call("POST", "/containers/"+b.id+"/start", nil, nil); err != nil {
		return err
	}
	now, err := c.engine.inspect(b.id)
	if err != nil {
		return err
	}
	var addrs []string
	for _, n := range now.Nets.Networks {
		addrs = append(addrs, n.IPAddress)
	}
	p.movesTo(addrs)
	return nil
}

// replace makes a new container of a part's: of another image, or with another
// environment.
func (c *compose) replace(b *box, r release) error {
	image := c.image
	if r.program != "" {
		made, err := c.imageOf(r.program)
		if err != nil {
			return err
		}
		image = made
	}
	old, err := c.engine.inspect(b.id)
	if err != nil {
		return err
	}
	if b.env == nil {
		b.env = old.Config["Env"]
	}
	old.Config["Env"] = b.env
	logs, _ := docker("logs", b.id)
	id, volumes, err := c.engine.again(old, image, r.env)
	if err != nil {
		return err
	}
	b.id, b.release, b.before = id, r, b.before+logs
	c.volumes = append(c.volumes, volumes...)
	return nil
}

// imageOf is an image of the lab's, with another program.
func (c *compose) imageOf(program string) (string, error) {
	if name := c.images[program]; name != "" {
		return name, nil
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("%s:%d", c.project, len(c.images)+1)
	dir := filepath.Join(c.dir, fmt.Sprint("image", len(c.images)+1))
	err = errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "signalbox"), text, 0o755),
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM "+c.image+"\nCOPY signalbox /signalbox\n"), 0o644))
	if err == nil {
		_, err = docker("build", "-t", name, dir)
	}
	if err == nil {
		c.images[program] = name
	}
	return name, err
}

func (c *compose) box(p *part) *box {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[p]
}

func (c *compose) signal(p *part, s syscall.Signal) error {
	b, what := c.box(p), "kill?signal="+strconv.Itoa(int(s))
	switch s {
	case syscall.SIGSTOP:
		what = "pause"
	case syscall.SIGCONT:
		what = "unpause"
	}
	return c.engine.call("POST", "/containers/"+b.id+"/"+what, nil, nil)
}

func (c *compose) wait(p *part) (int, error) {
	var ended struct{ StatusCode int }
	err := c.engine.call("POST", "/containers/"+c.box(p).id+"/wait", nil, &ended)
	return ended.StatusCode, err
}

func (c *compose) pid(p *part) (int, error) {
	now, err := c.engine.inspect(c.box(p).id)
	return now.State.Pid, err
}

func (c *compose) log(p *part) string {
	b := c.box(p)
	logs, err := docker("logs", b.id)
	if err != nil {
		return err.Error()
	}
	return b.before + logs
}

// operate runs a container beside a part's, on its network and with its volumes,
// and with the environment of a control plane, for certificates.
func (c *compose) operate(beside *part, data []byte, args ...string) (string, error) {
	const inside = "/data"
	file := filepath.Join(c.dir, "data")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return "", err
	}
	id := c.box(beside).id
	network := "none" // where the part does not run
	if pid, err := c.pid(beside); err == nil && pid > 0 {
		network = "container:" + id
	}
	command := []string{"run", "--rm", "--network=" + network, "--volumes-from=" + id, "-v", file + ":" + inside + ":ro"}
	for _, e := range c.access {
		name, _, _ := strings.Cut(e, "=")
		command = append(command, "-e", name) // the value, which may be a secret, is in our own environment
	}
	command = append(command, c.image)
	for _, a := range args {
		command = append(command, strings.ReplaceAll(a, dataFile, inside))
	}
	cmd := exec.Command("docker", command...)
	cmd.Env = append(os.Environ(), c.access...)
	return output(cmd)
}

func (c *compose) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	for _, b := range c.all { // who is frozen cannot be asked to end
		_ = c.engine.call("POST", "/containers/"+b.id+"/kill?signal=KILL", nil, nil)
		_ = c.engine.call("POST", "/containers/"+b.id+"/unpause", nil, nil)
	}
	if out, err := c.lab("down"); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "the lab %s is not gone: %v: %s\n", c.project, err, out)
	}
	for _, v := range c.volumes {
		_ = c.engine.call("DELETE", "/volumes/"+v, nil, nil)
	}
	for _, image := range c.images {
		_ = c.engine.call("DELETE", "/images/"+image, nil, nil)
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"signalbox/bench/meter"
	"signalbox/node"
)

// A nodeConfig is the configuration of the part "node".
type nodeConfig struct {
	Feed string // address of the control plane
	// Path is asked for once there is a table, and must be answered 200.
	// Empty: nothing is asked for.
	Path string
	// Keep gives the node a directory for its last-known-good file.
	Keep bool
}

// A served is the answer of a node to "serve".
type served struct {
	// Took is from the first attempt to connect to the first table served, in
	// nanoseconds.
	Took time.Duration
	// Heap is what is in use afterwards, Resident what the process has, in
	// bytes.
	Heap     uint64
	Resident int64
}

// beNode is a node that does nothing until it is asked to "serve". Asked for
// "cpu", it answers in nanoseconds.
func beNode(ctx context.Context, config []byte, serve func(func(string) (any, error)) error) error {
	var c nodeConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	conf := node.Config{
		ID: fmt.Sprintf("node-%d", os.Getpid()), ControlPlanes: []string{c.Feed}, Key: key,
		Listeners: map[string]node.Listener{"public": {Addr: "127.0.0.1:0"}}, DrainTimeout: -1,
	}
	if c.Keep {
		dir, err := os.MkdirTemp("", "scale-node")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		conf.StateDir = dir
	}
	n, err := node.New(conf)
	if err != nil {
		return err
	}
	if err := n.Listen(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	var ended chan error // nil until it runs
	err = serve(func(question string) (any, error) {
		switch {
		case question == "serve" && ended == nil:
			ended = make(chan error, 1)
			begun := time.Now()
			go func() { ended <- n.Run(running) }()
			if err := wait(func() (bool, error) { return n.Ready(), nil }); err != nil {
				return nil, err
			}
			return served{Took: time.Since(begun)}.after(n, c, conf.StateDir)
		case question == "cpu":
			cpu, err := meter.CPU(os.Getpid())
			return int64(cpu), err
		}
		return nil, fmt.Errorf("a node has no answer to %q", question)
	})
	stop()
	if ended != nil {
		err = errors.Join(err, <-ended)
	}
	return err
}

// after fills in what is so once the table is served.
func (s served) after(n *node.Node, c nodeConfig, dir string) (_ served, err error) {
	if c.Path != "" {
		if err := get("http://" + n.Addr("public") + c.Path); err != nil {
			return s, err
		}
	}
	if dir != "" {
		kept := func() (bool, error) {
			_, err := os.Stat(filepath.Join(dir, "last-known-good"))
			if errors.Is(err, fs.ErrNotExist) { // while it is being written it has another name
				return false, nil
			}
			return err == nil, err
		}
		if err := wait(kept); err != nil {
			return s, err
		}
	}
	s.Heap = heap()
	s.Resident, err = meter.Resident(os.Getpid())
	return s, err
}

// patience bounds every wait.
const patience = time.Minute

// wait looks every fifth of a millisecond whether something is so.
func wait(so func() (bool, error)) error {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		ok, err := so()
		if ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("not so after %v", patience)
		}
	}
}

// get asks for a URL, which must be there.
func get(url string) error {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return nil
}

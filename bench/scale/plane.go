package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync/atomic"

	"signalbox/bench/meter"
	"signalbox/controlplane"
	"signalbox/store/etcd"
)

// key is the admin key of the run, with which the node joins too.
const key = "a-key-for-one-benchmark-run"

// A planeConfig is the configuration of the part "plane".
type planeConfig struct {
	Etcd string // client URL
}

// A planeState is the answer of a control plane to "state".
type planeState struct {
	API, Feed string // addresses
	// Sent and Received are the bytes on the connections of nodes.
	Sent, Received int64
	// CPU of the process, in nanoseconds.
	CPU int64
}

// bePlane is a control plane. Nodes reach it at an address of their own, so
// that what goes to them can be counted.
func bePlane(ctx context.Context, config []byte, serve func(func(string) (any, error)) error) error {
	var c planeConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	keeper, err := etcd.Open(etcd.Config{Endpoints: []string{c.Etcd}})
	if err != nil {
		return err
	}
	defer func() { _ = keeper.Close() }()
	api, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	feed, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	counted := &countedListener{Listener: feed}
	ready := make(chan struct{})
	plane := controlplane.New(controlplane.Config{
		ID: "bench", Address: feed.Addr().String(), Records: keeper, Notes: keeper, AdminKey: key,
		Ready: func(string) { close(ready) }, Log: slog.New(slog.DiscardHandler),
	})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- plane.Run(running, controlplane.Endpoint{Listener: api}, controlplane.Endpoint{Listener: counted})
	}()
	select {
	case <-ready:
	case err := <-ended:
		stop()
		return err
	}
	err = serve(func(question string) (any, error) {
		switch question {
		case "state":
			cpu, err := meter.CPU(os.Getpid())
			return planeState{
				API: api.Addr().String(), Feed: feed.Addr().String(),
				Sent: counted.sent.Load(), Received: counted.received.Load(), CPU: int64(cpu),
			}, err
		case "heap":
			return heap(), nil
		}
		return nil, fmt.Errorf("a control plane has no answer to %q", question)
	})
	stop()
	return errors.Join(err, <-ended)
}

// heap is what is left on the heap of this process when garbage is collected,
// in bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first has set free to finalisers and pools
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A countedListener counts the bytes on its connections.
type countedListener struct {
	net.Listener
	sent, received atomic.Int64
}

// Accept waits for a connection.
func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: c, in: l}, nil
}

type countedConn struct {
	net.Conn
	in *countedListener
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.received.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.in.sent.Add(int64(n))
	return n, err
}

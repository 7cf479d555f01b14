package tunnel_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/node/tunnel"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	running  = signalboxv1.InstanceState_INSTANCE_STATE_RUNNING
	starting = signalboxv1.InstanceState_INSTANCE_STATE_STARTING
	failing  = signalboxv1.InstanceState_INSTANCE_STATE_ERROR
)

// A machine is a supervisor at work.
type machine struct {
	*tunnel.Supervisor
	t       *testing.T
	over    <-chan struct{} // closed when it has taken too long
	stop    func()
	reports map[string]*signalboxv1.InstanceReport // the newest by instance
	reader  interface {
		Changed() []*signalboxv1.InstanceReport
		Close()
	}

	mu    sync.Mutex
	lines []string
}

// boot starts a supervisor that speaks only the fake wire, unless cfg has
// others.
func boot(t *testing.T, cfg tunnel.Config) *machine {
	t.Helper()
	m := &machine{t: t, reports: map[string]*signalboxv1.InstanceReport{}}
	cfg.Lines = func(l *signalboxv1.LogLine) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.lines = append(m.lines, l.GetLevel().String()+" "+l.GetText())
	}
	if cfg.Wires == nil {
		cfg.Wires = (&fakeWire{}).wires()
	}
	if cfg.Retry == 0 {
		cfg.Retry = 20 * time.Millisecond
	}
	m.Supervisor = tunnel.New(cfg)
	m.reader = m.Reader()
	bound, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	m.over = bound.Done()
	ctx, stop := context.WithCancel(bound)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	m.stop = func() {
		stop()
		<-done
	}
	t.Cleanup(func() {
		m.stop()
		cancel()
		m.reader.Close()
		if t.Failed() {
			t.Log(strings.Join(m.logged(), "\n"))
		}
	})
	return m
}

// logged are the lines so far.
func (m *machine) logged() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.lines...)
}

// until waits for a condition.
func (m *machine) until(what string, cond func() bool) {
	m.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-m.over:
			m.t.Fatalf("never: %s; reports: %v", what, m.reports)
		}
	}
}

// report waits until the newest report of an instance is as wanted.
func (m *machine) report(name, what string, cond func(*signalboxv1.InstanceReport) bool) *signalboxv1.InstanceReport {
	m.t.Helper()
	m.until(name+" "+what, func() bool {
		for _, r := range m.reader.Changed() {
			if old := m.reports[r.GetInstance()]; old.GetIncarnation() <= r.GetIncarnation() {
				m.reports[r.GetInstance()] = r
			}
		}
		r := m.reports[name]
		return r != nil && cond(r)
	})
	return m.reports[name]
}

// state waits for a state, and returns the run.
func (m *machine) state(name string, want signalboxv1.InstanceState) *signalboxv1.InstanceRun {
	m.t.Helper()
	return m.report(name, want.String(), func(r *signalboxv1.InstanceReport) bool { return r.GetRun().GetState() == want }).GetRun()
}

// counted waits for counters: tcp received, sent, udp received, sent.
func (m *machine) counted(name string, want [4]uint64) {
	m.t.Helper()
	m.report(name, "carried", func(r *signalboxv1.InstanceReport) bool {
		c := r.GetCounters()
		return [4]uint64{c.GetTcpReceived(), c.GetTcpSent(), c.GetUdpReceived(), c.GetUdpSent()} == want
	})
}

// free returns an address on which nobody listens, over TCP or UDP.
func free(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		_ = l.Close()
		if err == nil {
			_ = u.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// A target answers every TCP connection and datagram.
type target struct {
	address string
	tcp     net.Listener
	udp     net.PacketConn
}

// answering starts a target. Over TCP it reads to the end and then answers;
// of UDP it sends every datagram back, as many times as its first byte says.
func answering(t *testing.T, answer func(got []byte) []byte) *target {
	t.Helper()
	address := free(t)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				got, err := io.ReadAll(c)
				if err == nil {
					_, _ = c.Write(answer(got))
				}
			})
		}
	})
	serving.Go(func() {
		buf := make([]byte, 70_000)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			times := 1
			if buf[0] > '0' && buf[0] <= '9' {
				times = int(buf[0] - '0')
			}
			for range times {
				_, _ = u.WriteTo(answer(bytes.Clone(buf[:n])), from)
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		_ = u.Close()
		serving.Wait()
	})
	return &target{address, l, u}
}

// same answers with what came.
func same(got []byte) []byte { return got }

// ask is a TCP user who sends something, ends, and reads the answer.
func ask(address string, what []byte) ([]byte, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(what); err != nil {
		return nil, err
	}
	_ = c.(*net.TCPConn).CloseWrite()
	return io.ReadAll(c)
}

// tell is a UDP user who sends one datagram and reads so many.
func tell(t *testing.T, address string, what []byte, replies int) (got [][]byte) {
	t.Helper()
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(what); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 70_000)
	for range replies {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("after %d replies: %v", len(got), err)
		}
		got = append(got, bytes.Clone(buf[:n]))
	}
	return got
}

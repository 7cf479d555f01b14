package feed

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A watchedLog passes the lines of a log with some words on.
type watchedLog struct {
	testLog
	words string
	seen  chan string
}

func (l watchedLog) Write(b []byte) (int, error) {
	if strings.Contains(string(b), l.words) {
		l.seen <- string(b)
	}
	return l.testLog.Write(b)
}

// watch has the lines of the client's log with some words passed on.
func (r *rig) watch(words string) <-chan string {
	seen := make(chan string, 1000)
	r.conf.Log = slog.New(slog.NewTextHandler(watchedLog{testLog{r.t}, words, seen}, nil))
	return seen
}

func TestClientIsReadyWithWhatItHasWhenNobodyAnswers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // it takes connections, and says nothing on them
	for name, change := range map[string]func(*Config){
		"all were tried": func(c *Config) {
			c.Seeds, c.timing.verdict = []string{"127.0.0.1:1"}, time.Hour
		},
		"no address was found": func(c *Config) {
			c.Seeds, c.timing.verdict = []string{"cp.invalid:1"}, time.Hour
			c.Resolve = func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
		},
		"somebody is silent for too long": func(c *Config) {
			c.Seeds, c.timing.verdict = []string{ln.Addr().String()}, 300*time.Millisecond
			c.timing.connect, c.timing.probeTimeout = time.Hour, time.Hour
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.conf.Start = []*Change{{Whole: true, To: at("e", 4)}}
			change(&r.conf)
			ready := r.watch("readiness changed")
			r.start()
			if line := wait(t, ready, "readiness"); !strings.Contains(line, "ready=true") || !r.client.Status().Ready {
				t.Errorf("the log says %q, the status %+v", line, r.client.Status())
			}
		})
	}
}

func TestClientAsksAtOnceWhenThereIsNobodyElse(t *testing.T) {
	p := newPlane(t, "cp1")
	r := newRig(t, p.serve())
	r.conf.timing.settle = time.Hour // it need not wait for members that do not exist
	r.start()
	s := p.session()
	s.feed()
	s.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Unfed{Unfed: &signalboxv1.Unfed{Reason: "the store is away"}}})
	s.feed() // and again, a moment after it could not
}

func TestClientDoesNotWaitForABetterOneForLong(t *testing.T) {
	ids := ranked("cp1", "cp2")
	p := newPlane(t, ids[1])
	p.members.Members = append(p.members.Members, &signalboxv1.Member{Id: ids[0]}) // which cannot be reached
	newRig(t, p.serve()).start()
	p.session().feed()
}

func TestClientForgetsWhyItCouldNotConnect(t *testing.T) {
	p := newPlane(t, "cp1")
	tries := 0
	p.refuse = func(metadata.MD) error {
		if tries++; tries == 1 {
			return status.Error(codes.Unavailable, "not yet")
		}
		return nil
	}
	r := newRig(t, p.serve()).start()
	s := p.session()
	s.feed()
	if cps := r.client.Status().ControlPlanes; len(cps) != 1 || !cps[0].Connected || cps[0].Err != "" {
		t.Errorf("control planes are %+v", cps)
	}
}

// When a client ends, it waits neither for those who never answered nor for
// long for those who do not take leave.
func TestClientEndsWithoutThoseWhoDoNot(t *testing.T) {
	t.Run("never answered", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ln.Close() }()
		r := newRig(t, ln.Addr().String())
		r.conf.timing.goodbye, r.conf.timing.connect, r.conf.timing.probeTimeout = time.Hour, time.Hour, time.Hour
		r.start()
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		r.stop(nil)
		if err := wait(t, r.ended, "the end"); err != nil {
			t.Error(err)
		}
	})
	t.Run("does not take leave", func(t *testing.T) {
		p := newPlane(t, "cp1")
		p.reads = make(chan struct{})
		r := newRig(t, p.serve())
		r.conf.timing.goodbye = 100 * time.Millisecond
		r.start()
		s := p.session()
		r.stop(errors.New("the power goes"))
		if err := wait(t, r.ended, "the end"); err != nil {
			t.Error(err)
		}
		wait(t, s.done, "the end of the stream")
	})
}

func TestClientTellsWhatItRefuses(t *testing.T) {
	p := newPlane(t, "cp1")
	r := newRig(t, p.serve()).start()
	s := p.session()
	s.feed()
	refused := func() (names string) {
		for _, rej := range r.client.Status().Rejections {
			names += rej.GetName() + " "
		}
		return names
	}
	for _, step := range []struct {
		update *signalboxv1.Update
		want   string
	}{
		{part(nil, at("e", 6), 1, 1, "+r3@6"), ""},
		{part(at("e", 6), at("e", 7), 1, 1, "+a@7"), "a "},
		{part(at("e", 7), at("e", 8), 1, 1, "+r4@8"), "a r3 "},
		{part(at("e", 8), at("e", 9), 1, 1, "-r4"), "a "},
	} {
		s.update(step.update)
		ack := s.ack(step.update.GetTo())
		if got := refused(); got != step.want {
			t.Errorf("at %s it refuses %q, want %q", text(ack.GetVersion()), got, step.want)
		}
		if accepted := len(ack.GetAccepted()); (accepted == 1) != (step.update.GetTo().GetRevision() == 9) {
			t.Errorf("the Ack of %s accepts %d", text(ack.GetVersion()), accepted)
		}
	}
}

// A process that is not the node any more ends, and leaves no stream behind.
func TestClientEndsAllStreamsWhenItIsReplaced(t *testing.T) {
	kept, refusing := newPlane(t, "cp1"), newPlane(t, "cp2")
	refusing.refuse = func(metadata.MD) error {
		return status.Error(codes.AlreadyExists, "a newer process goes by this node name")
	}
	kept.members.Members = append(kept.members.Members, refusing.members.Members...)
	r := newRig(t, kept.serve())
	kept.members.Members[1].Address = refusing.serve() // heard of once the first stream is there
	r.start()
	s := kept.session()
	var replaced *ReplacedError
	if err := wait(t, r.ended, "the end"); !errors.As(err, &replaced) || replaced.Node != "n" {
		t.Errorf("Run returned %v", err)
	}
	wait(t, s.done, "the end of the other stream")
}

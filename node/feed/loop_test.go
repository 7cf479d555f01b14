package feed

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
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
	for name, seed := range map[string]string{"nobody is there": "127.0.0.1:1", "somebody is silent": ln.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, seed)
			r.conf.Start = []*Change{{Whole: true, To: at("e", 4)}}
			r.conf.timing.verdict = 300 * time.Millisecond
			ready := r.watch("readiness changed")
			r.start()
			if line := wait(t, ready, "readiness"); !strings.Contains(line, "ready=true") || !r.client.Status().Ready {
				t.Errorf("the log says %q, the status %+v", line, r.client.Status())
			}
		})
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

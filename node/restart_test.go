package node

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestNodeOutlivesItsControlPlanes(t *testing.T) {
	p := newPlane(t, "cp1")
	dir, ana := t.TempDir(), target(t, "ana")
	n := start(t, Config{ControlPlanes: []string{p.addr}, StateDir: dir})
	p.put("/ana", ana)
	rejected := p.write([]*signalboxv1.Record{routeRecord("/ana", "ftp://nowhere")})
	if a := p.acked(rejected); len(a.GetRejections()) != 1 || !strings.Contains(a.GetRejections()[0].GetReason(), "upstreams[0].url") {
		t.Fatalf("the Ack is %v, want a rejection that names the field", a)
	}
	p.stop()
	if _, body, _ := n.get("/ana/x"); body != "ana /ana/x" {
		t.Errorf("without control planes the route answers %q", body)
	}
	n.end()

	whole := t
	t.Run("a node restarted meanwhile starts from its file, and is ready", func(t *testing.T) {
		n = start(whole, Config{ControlPlanes: []string{p.addr}, StateDir: dir})
		n.readyz(http.StatusOK)
		if _, body, _ := n.get("/ana/x"); body != "ana /ana/x" {
			t.Errorf("the last good record answers %q", body)
		}
		if s := n.status(); s.Serving.GetRevision() != rejected || len(s.Rejections) != 1 || s.Rejections[0].GetRevision() != rejected {
			t.Errorf("the node serves %v and refuses %v", s.Serving, s.Rejections)
		}
	})
	t.Run("a control plane that comes back is asked only for what changed", func(t *testing.T) {
		back := newPlane(t, "cp2", p.addr)
		back.history = p.history
		rev := back.write([]*signalboxv1.Record{routeRecord("/bob", target(t, "bob"))})
		back.acked(rev)
		back.mu.Lock()
		h := back.hellos[0]
		back.mu.Unlock()
		if h.GetServing().GetRevision() != rejected || !h.GetReady() || len(h.GetRejections()) != 1 {
			t.Errorf("Hello is %v", h)
		}
		feed := back.until("Feed", func(m *signalboxv1.ConnectRequest) bool { return m.GetFeed() != nil })
		if got := feed.GetFeed().GetHave().GetRevision(); got != rejected {
			t.Errorf("Feed has revision %d, want %d", got, rejected)
		}
		if _, body, _ := n.get("/bob"); body != "bob /bob" {
			t.Errorf("the new route answers %q", body)
		}
	})
	n.end()
}

func TestNodeIgnoresADamagedFile(t *testing.T) {
	dir := t.TempDir()
	if err := writeState(dir, sample(t, 3, 0)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName)
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}, StateDir: dir})
	if status, _, _ := n.get("/0"); status != http.StatusServiceUnavailable {
		t.Errorf("without a table the node answers %d", status)
	}
	p.put("/a", target(t, "a"))
	n.end()
	if changes, err := readState(dir); err != nil || len(changes) != 1 || len(changes[0].Upserts) != 1 {
		t.Errorf("the file has %v, %v; want the new table", changes, err)
	}
}

// A file that is behind is served from the start, but is no reason to be
// called ready while a control plane says that there is more.
func TestNodeIsNotReadyWithAnOldFileWhileAControlPlaneAnswers(t *testing.T) {
	dir := t.TempDir()
	s := sample(t, 1, 0)
	s.version = version(1)
	if err := writeState(dir, s); err != nil {
		t.Fatal(err)
	}
	p := newPlane(t, "cp1")
	p.write(nil)
	p.write([]*signalboxv1.Record{routeRecord("/a", "ftp://nowhere")})
	n := start(t, Config{ControlPlanes: []string{p.addr}, StateDir: dir})
	if a := p.acked(2); !a.GetReady() {
		t.Error("the node is not ready once it serves what was current")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hellos[0].GetReady() || p.hellos[0].GetServing().GetRevision() != 1 {
		t.Errorf("Hello is %v, want revision 1, not ready", p.hellos[0])
	}
	_ = n
}

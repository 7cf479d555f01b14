package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"signalbox/node/tunnel/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// put puts one end of a pipe into a pool, and returns the other.
func put(t *testing.T, p *Pool, id string) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	if !p.Put(&Member{Conn: near, ID: id}, 10) {
		t.Fatalf("%s was not taken", id)
	}
	return far
}

func TestTheOldestIsTakenFirstAndAnyByItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(false, Demand{})
		defer p.Close()
		for _, id := range []string{"a", "b", "c"} {
			put(t, p, id)
		}
		for _, c := range []struct{ ask, want string }{{"", "a"}, {"c", "c"}, {"", "b"}} {
			m, err := p.Take(t.Context(), c.ask)
			if err != nil || m.ID != c.want {
				t.Fatalf("%q: %+v, %v", c.ask, m, err)
			}
		}
		if p.Len() != 0 || !p.Free("a") {
			t.Errorf("%d are left", p.Len())
		}
	})
}

func TestWhoeverWaitsGetsWhatHeWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(true, Demand{})
		defer p.Close()
		got := make(chan string)
		go func() {
			m, err := p.Take(t.Context(), "b")
			if err != nil {
				t.Error(err)
				return
			}
			got <- m.ID
		}()
		synctest.Wait()
		put(t, p, "a")
		put(t, p, "b")
		if id := <-got; id != "b" || p.Len() != 1 {
			t.Errorf("%s, and %d are left", id, p.Len())
		}
	})
}

func TestNothingIsPutTwiceOrTooOftenOrTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(false, Demand{})
		put(t, p, "a")
		c, _ := net.Pipe()
		if p.Put(&Member{Conn: c, ID: "a"}, 10) {
			t.Error("an id was taken twice")
		}
		if p.Put(&Member{Conn: c, ID: "b"}, 1) {
			t.Error("more were taken than may be")
		}
		p.Close()
		if p.Put(&Member{Conn: c, ID: "b"}, 10) {
			t.Error("one was taken after the end")
		}
		if _, err := p.Take(t.Context(), ""); !errors.Is(err, link.ErrEnded) {
			t.Error(err)
		}
	})
}

func TestAMemberThatEndsOrTalksLeavesThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(false, Demand{})
		defer p.Close()
		_ = put(t, p, "a").Close()
		if _, err := put(t, p, "b").Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if p.Len() != 0 {
			t.Errorf("%d are left", p.Len())
		}
		put(t, p, "c")
		if m, err := p.Take(t.Context(), ""); err != nil || m.ID != "c" {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// Where the peer speaks first, what it says may be ahead of the word that the
// connection is used.
func TestWhatComesEarlyIsKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(true, Demand{})
		defer p.Close()
		for _, id := range []string{"a", "b"} {
			far := put(t, p, id)
			if _, err := far.Write([]byte(id)); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, 5)
		m, err := p.Take(t.Context(), "a")
		if err != nil || m.Early() != 1 {
			t.Fatal(m, err)
		}
		if n, err := m.Read(b); err != nil || string(b[:n]) != "a" || m.Early() != 0 {
			t.Errorf("%q, %v", b[:n], err)
		}
		<-time.After(Patience)
		synctest.Wait()
		if p.Len() != 0 {
			t.Error("one that nobody asked for is still there")
		}
	})
}

// So may be that it says nothing more.
func TestAnEndThatComesEarlyIsKeptForAWhile(t *testing.T) {
	p := New(true, Demand{})
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	near, far := pair(t)
	p.Put(&Member{Conn: near, ID: "other"}, 10)
	_ = far.Close()
	for range 20 {
		near, far := pair(t)
		p.Put(&Member{Conn: near, ID: "a"}, 10)
		_ = far.(*net.TCPConn).CloseWrite()
		m, err := p.Take(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := m.Read(make([]byte, 5)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !p.Free("other") {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("one that nobody asked for is still there")
		}
	}
}

func TestFlushClosesWhatWaitsAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(false, NewDemand(1, 8))
		defer p.Close()
		used := put(t, p, "a")
		m, err := p.Take(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		idle := put(t, p, "b")
		p.Flush()
		if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		go func() { _, _ = m.Write([]byte("x")) }()
		if _, err := used.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

// pair is the two ends of a TCP connection.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

func TestWhatWasCutDoesNotLookLikeTheEnd(t *testing.T) {
	near, far := pair(t)
	m := &Member{Conn: near}
	if err := m.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = m.Close()
	if _, err := far.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("it looks like the end: %v", err)
	}
	near, far = pair(t)
	m = &Member{Conn: tls.Client(near, &tls.Config{InsecureSkipVerify: true})}
	if err := m.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = m.Close()
	if _, err := far.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("inside TLS it looks like the end: %v", err)
	}
}

func TestAFillerKeepsAsManyAsAreWantedAndGivesUpWhenThereAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(false, NewDemand(3, 6))
		defer p.Close()
		refused := errors.New("refused")
		works, told, ids := true, 0, make(chan string, 100)
		for _, id := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
			ids <- id
		}
		f := Filler{Pool: p, AtOnce: 2, Failed: func(error) { told++ }, Dial: func(context.Context) error {
			if !works {
				return refused
			}
			put(t, p, <-ids)
			return nil
		}}
		result := make(chan error)
		go func() { result <- f.Run(t.Context()) }()
		synctest.Wait()
		if p.Len() != 3 {
			t.Errorf("%d at first", p.Len())
		}
		for range 3 { // used up: twice as many
			if _, err := p.Take(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if p.Len() < 3 || p.Len() > 6 {
			t.Errorf("%d after use", p.Len())
		}
		for range 20 {
			p.Rest()
		}
		works = false
		p.Flush()
		began := time.Now()
		if err := <-result; !errors.Is(err, refused) || time.Since(began) < hopeless {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if told == 0 {
			t.Error("nobody was told")
		}
	})
}

func TestADemandDoublesWhenUsedUpAndComesDownSlowly(t *testing.T) {
	d := NewDemand(2, 9)
	for i, want := range []int{4, 8, 9, 9} {
		d.left(0)
		d.left(0) // once between two rests
		if got := d.target(0); got != want {
			t.Errorf("%d times used up: %d, want %d", i+1, got, want)
		}
		d.rest(0)
	}
	if d.target(100) != 9 {
		t.Errorf("more than the most: %d", d.target(100))
	}
	last := d.target(0)
	for range 20 {
		d.rest(d.target(0))
		if now := d.target(0); now > last {
			t.Errorf("%d after %d", now, last)
		} else {
			last = now
		}
	}
	if last != 2 {
		t.Errorf("%d are kept in the end", last)
	}
}

func TestALogLeavesLinesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		l := Log{Lines: func(_ slog.Level, text string) { got = append(got, text) }}
		for range 3 {
			l.Warn("a line")
		}
		<-time.After(atMost)
		l.Warn("another")
		if want := "a line|another (2 lines before this one were left out)"; strings.Join(got, "|") != want {
			t.Errorf("%q", got)
		}
		(&Log{}).Warn("nowhere")
	})
}

// closing tells that it was closed.
type closing chan struct{}

func (c closing) Close() error { close(c); return nil }

func TestALifeEndsOnceWithAllThatIsItsOwn(t *testing.T) {
	ended := 0
	l := NewLife(func() { ended++ })
	kept, gone := make(closing), make(closing)
	l.Track(kept)
	l.Track(gone)
	l.Untrack(gone)
	l.Spawn(func() { <-l.Done() })
	why := errors.New("a reason")
	l.End(why)
	l.End(errors.New("another"))
	select {
	case <-kept:
		t.Error("a stream ended before Close")
	default:
	}
	_ = l.Close()
	<-kept
	l.Untrack(kept) // as streams do
	_ = l.Close()
	if !errors.Is(l.Err(), why) || ended != 1 || !errors.Is(l.Gone(), link.ErrEnded) || !errors.Is(l.Gone(), why) {
		t.Errorf("ended %d times: %v", ended, l.Gone())
	}
	late := make(closing)
	if l.Track(late) || l.Spawn(func() {}) {
		t.Error("something began after the end")
	}
	<-late
}

func TestVisitsEndAndAreWaitedFor(t *testing.T) {
	near, far := pair(t)
	var v Visits
	inside := make(chan struct{})
	left := make(chan error, 1)
	go v.Attend(context.Background(), near, func(ctx context.Context) {
		close(inside)
		_, err := near.Read(make([]byte, 1))
		left <- errors.Join(err, ctx.Err())
	})
	<-inside
	if !v.Cancel() || v.Cancel() {
		t.Error("not the first, or the first twice")
	}
	v.Wait()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if v.Attend(context.Background(), far, func(context.Context) { t.Error("one was let in") }) {
		t.Error("one began after the end")
	}
}

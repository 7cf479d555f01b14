package wire4

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
	"signalbox/proto/tunnelurl"
)

// A placed connection is one in memory that comes from an IP address. Time is
// simulated with it.
type placed struct {
	net.Conn
	at net.TCPAddr
}

func (p *placed) RemoteAddr() net.Addr { return &p.at }

// A bench is a server in simulated time, to which connections are handed.
type bench struct {
	*Server
	t   *testing.T
	log *lines
	// handling are the goroutines of a test.
	handling sync.WaitGroup
}

// simulated runs f with a server in simulated time.
func simulated(t *testing.T, receives tunnelurl.Role, f func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		log := newLines()
		b := &bench{t: t, log: log, Server: NewServer(link.Config{Secret: "secret", Receives: receives, Log: log.add})}
		defer b.handling.Wait()
		defer b.Close()
		f(t, b)
	})
}

// connect hands the server a connection from ip and returns its other end.
func (b *bench) connect(ip string) net.Conn {
	near, far := net.Pipe()
	b.handling.Go(func() {
		b.Handle(context.Background(), link.NewConn(&placed{Conn: near, at: net.TCPAddr{IP: net.ParseIP(ip), Port: 1}}))
	})
	return far
}

// client says the key from ip, and returns the session and what it hears: one
// point in time for each beat.
func (b *bench) client(ip string) (link.Session, net.Conn, *beats) {
	b.t.Helper()
	c := b.connect(ip)
	go func() { _, _ = c.Write([]byte("ucetcr\n")) }()
	if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
		b.t.Fatalf("the server did not answer: %v; %q", err, b.log.all)
	}
	heard := hear(c)
	select {
	case s := <-b.Sessions():
		b.t.Cleanup(func() { _ = s.Close() })
		return s, c, heard
	case <-time.After(time.Minute):
		b.t.Fatal("no session")
		return nil, nil, nil
	}
}

// beats are when lone ends of lines came, since the first byte could come, and
// what else came.
type beats struct {
	mu    sync.Mutex
	at    []time.Duration
	other string
	done  chan struct{}
}

func hear(c net.Conn) *beats {
	h, begun := &beats{done: make(chan struct{})}, time.Now()
	go func() {
		defer close(h.done)
		var b [1]byte
		for {
			if _, err := c.Read(b[:]); err != nil {
				return
			}
			h.mu.Lock()
			if b[0] == '\n' && !strings.HasSuffix(h.other, "7") && !strings.HasSuffix(h.other, "%6") {
				h.at = append(h.at, time.Since(begun))
			} else {
				h.other += string(b[:])
			}
			h.mu.Unlock()
		}
	}()
	return h
}

func (h *beats) said() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.other
}

// keepBeating sends a beat every 5 s until c is closed.
func (b *bench) keepBeating(c net.Conn) {
	b.handling.Go(func() {
		for {
			if _, err := c.Write([]byte("\n")); err != nil {
				return
			}
			time.Sleep(5 * time.Second) //nolint:forbidigo // simulated
		}
	})
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // simulated
	synctest.Wait()
}

// open tells whether nobody has closed a connection yet.
func isOpen(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func TestBeatsAreSentAtOnceAndEveryFiveSeconds(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		s, c, heard := b.client("192.0.2.1")
		b.keepBeating(c)
		pass(61 * time.Second)
		heard.mu.Lock()
		defer heard.mu.Unlock()
		if len(heard.at) != 13 || heard.at[0] != 0 || heard.at[1] != 5*time.Second || heard.at[12] != time.Minute {
			t.Errorf("beats came after %v", heard.at)
		}
		if s.Err() != nil {
			t.Error(s.Err())
		}
		_ = c.Close()
	})
}

func TestAPeerThatIsSilentForThreeBeatsIsLost(t *testing.T) {
	for _, receives := range []tunnelurl.Role{tunnelurl.Server, tunnelurl.Client} {
		simulated(t, receives, func(t *testing.T, b *bench) {
			s, c, _ := b.client("192.0.2.1")
			go func() { _, _ = c.Write([]byte("\n")) }()
			pass(14 * time.Second)
			if s.Err() != nil {
				t.Fatalf("too early: %v", s.Err())
			}
			pass(time.Second)
			if s.Err() == nil || !strings.Contains(s.Err().Error(), "15s") {
				t.Errorf("after 15 s: %v", s.Err())
			}
			_ = c.Close()
		})
	}
}

func TestAClientTakesThePlaceOfOneThatIsStale(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		first, c, _ := b.client("192.0.2.1")
		go func() { _, _ = c.Write([]byte("\n")) }()
		pass(11900 * time.Millisecond)
		second := b.connect("192.0.2.1")
		go func() { _, _ = second.Write([]byte("ucetcr\n")) }()
		if p, err := io.ReadAll(second); len(p) != 0 || err != nil {
			t.Errorf("while the first lives: %q, %v", p, err)
		}
		pass(200 * time.Millisecond)
		third, d, _ := b.client("192.0.2.1")
		if first.Err() == nil || !strings.Contains(first.Err().Error(), "taken its place") {
			t.Errorf("the first ended because %v", first.Err())
		}
		if third.Err() != nil {
			t.Error(third.Err())
		}
		_, _ = c.Close(), d.Close()
	})
}

func TestAStrangerWhoSaysNothingIsClosedAfterTenSeconds(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		c := b.connect("192.0.2.9")
		pass(9 * time.Second)
		if !isOpen(c) {
			t.Error("closed too early")
		}
		pass(2 * time.Second)
		if isOpen(c) || !b.log.has("it did not say the key") {
			t.Errorf("not closed; the log is %q", b.log.all)
		}
	})
}

// 1.4.4 does not read the control connection where users come in, so some day
// no more beats fit in.
func TestAPeerThatReadsNoBeatsIsKeptAsLongAsItSendsThem(t *testing.T) {
	simulated(t, tunnelurl.Client, func(t *testing.T, b *bench) {
		c := b.connect("192.0.2.1")
		go func() { _, _ = c.Write([]byte("ucetcr\n")) }()
		if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		s := <-b.Sessions()
		b.keepBeating(c)
		pass(time.Hour)
		if s.Err() != nil {
			t.Errorf("it ended because %v", s.Err())
		}
		_ = c.Close()
		pass(0)
		if s.Err() == nil {
			t.Error("its end was not noticed at once")
		}
		_ = s.Close()
	})
}

// The other end must read it, or no user can be told of.
func TestAPeerThatReadsNoSignalsIsLost(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		c := b.connect("192.0.2.1")
		go func() { _, _ = c.Write([]byte("ucetcr\n")) }()
		if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
		s := <-b.Sessions()
		b.keepBeating(c)
		pass(5 * time.Second)
		if s.Err() == nil {
			t.Error("it goes on")
		}
		_, _ = c.Close(), s.Close()
	})
}

// poolConn makes a pool connection and returns its id.
func (b *bench) poolConn(ip string) (net.Conn, string) {
	b.t.Helper()
	c, id := b.connect(ip), make([]byte, 8)
	if _, err := io.ReadFull(c, id); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	return c, string(id)
}

func TestASignalWaitsFiveSecondsForItsConnection(t *testing.T) {
	simulated(t, tunnelurl.Client, func(t *testing.T, b *bench) {
		s, c, _ := b.client("192.0.2.1")
		b.keepBeating(c)
		inside := s.(*session)
		// The server chooses ids, so this puts one in by hand.
		put := func(after time.Duration) bool {
			near, far := net.Pipe()
			_, _ = c.Write(append(six("//21d105dd#1"), '\n'))
			pass(after)
			inside.pool.Put(&pool.Member{Conn: near, ID: "21d105dd"}, fewest)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r, err := s.Accept(ctx)
			if err != nil {
				_ = far.Close()
				return false
			}
			_ = r.Stream.Close()
			return true
		}
		if !put(4 * time.Second) {
			t.Error("after 4 s it was not used")
		}
		if put(6 * time.Second) {
			t.Error("after 6 s it was used")
		}
		if !b.log.has("a connection that is not there") {
			t.Errorf("the log is %q", b.log.all)
		}
		_ = c.Close()
	})
}

func TestWhatCameWithoutASignalIsDroppedAfterFiveSeconds(t *testing.T) {
	simulated(t, tunnelurl.Client, func(t *testing.T, b *bench) {
		s, c, _ := b.client("192.0.2.1")
		b.keepBeating(c)
		late, _ := b.poolConn("192.0.2.1")
		go func() { _, _ = late.Write([]byte("ucetcr\n")) }()
		pass(4 * time.Second)
		if n := s.Stats().Pool; n != 1 {
			t.Errorf("%d in the pool", n)
		}
		pass(2 * time.Second)
		if n := s.Stats().Pool; n != 0 || isOpen(late) {
			t.Errorf("%d in the pool", n)
		}
		_ = c.Close()
	})
}

// A client that thinks its pool is full, while none of it has reached the
// server or is left there, is told to begin anew; once, not with every beat.
func TestAClientWhoseConnectionsAreLostIsToldToBeginAnew(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		s, c, heard := b.client("192.0.2.1")
		b.keepBeating(c)
		ctx, cancel := context.WithTimeout(t.Context(), 19*time.Second)
		defer cancel()
		if _, err := s.Open(ctx, link.TCP, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if got := heard.said(); got != "%6\n%6\n" {
			t.Errorf("the client was told %q", got)
		}
		_ = c.Close()
	})
}

func TestADatagramWaitsTenSecondsForItsAnswer(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		s, c, _ := b.client("192.0.2.1")
		b.keepBeating(c)
		udp, err := s.Open(t.Context(), link.UDP, "")
		if err != nil {
			t.Fatal(err)
		}
		ask := func(after time.Duration) {
			if _, err := udp.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			p, _ := b.poolConn("192.0.2.1")
			if _, err := io.ReadFull(p, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			pass(after)
			_, _ = p.Write([]byte("WORLD"))
			_ = p.Close()
		}
		ask(11 * time.Second)
		ask(9 * time.Second)
		p := make([]byte, 100)
		if n, err := udp.Read(p); string(p[:n]) != "WORLD" || err != nil {
			t.Errorf("%q, %v", p[:n], err)
		}
		time.AfterFunc(time.Minute, func() { _ = udp.Close() })
		if n, err := udp.Read(p); !errors.Is(err, net.ErrClosed) {
			t.Errorf("what came too late was read: %q, %v", p[:n], err)
		}
		_ = c.Close()
	})
}

func TestADatagramOfThePeerIsOverAfterTenSecondsWithoutAnAnswer(t *testing.T) {
	simulated(t, tunnelurl.Client, func(t *testing.T, b *bench) {
		s, c, _ := b.client("192.0.2.1")
		b.keepBeating(c)
		p, id := b.poolConn("192.0.2.1")
		_, _ = c.Write(append(six("//"+id+"#2"), '\n'))
		r, err := s.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3*time.Second, func() { _, _ = p.Write([]byte("hello")) })
		got := make([]byte, 100)
		if n, err := r.Stream.Read(got); string(got[:n]) != "hello" || err != nil {
			t.Fatalf("%q, %v", got[:n], err)
		}
		begun := time.Now()
		if _, err := r.Stream.Read(got); !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
		if d := time.Since(begun); d != 10*time.Second {
			t.Errorf("it was over after %v", d)
		}
		_, _ = r.Stream.Close(), c.Close()
	})
}

// What came in parts, as long datagrams do, is one datagram.
func TestALongDatagramIsReadWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() {
			for _, n := range []int{1186, 1, 4000, 2813} {
				_, _ = far.Write(noise(n))
				time.Sleep(5 * time.Millisecond) //nolint:forbidigo // simulated
			}
		}()
		m := &pool.Member{Conn: near}
		if p, err := datagram(m); len(p) != 8000 || err != nil {
			t.Errorf("%d bytes, %v", len(p), err)
		}
		_, _ = near.Close(), far.Close()
	})
}

// served lets a client of ours dial a server in simulated time, as long as
// nothing is wrong with it.
type served struct {
	mu    sync.Mutex
	wrong error
	times int // since it was set
}

// set says what is wrong, and returns how often it was tried since the last time.
func (s *served) set(wrong error) (times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	times, s.wrong, s.times = s.times, wrong, 0
	return times
}

func (s *served) dial(b *bench) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.times++; s.wrong != nil {
			return nil, s.wrong
		}
		return b.connect("192.0.2.1"), nil
	}
}

func TestAClientThatCanMakeNoConnectionAnyMoreEndsAndSaysWhy(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		way, log := &served{}, newLines()
		client, err := Dial(t.Context(), link.Config{Secret: "secret", Min: 3, Max: 5, Dial: way.dial(b), Log: log.add})
		if err != nil {
			t.Fatal(err)
		}
		server := <-b.Sessions()
		pass(time.Second)
		if n := server.Stats().Pool; n != 3 {
			t.Fatalf("%d connections", n)
		}
		noWay := errors.New("no way there")
		way.set(noWay)
		client.(*session).pool.Flush()
		pass(9 * time.Second)
		if client.Err() != nil {
			t.Errorf("too early: %v", client.Err())
		}
		if n := way.set(noWay); n < 3 || n > 30 {
			t.Errorf("it was tried %d times", n)
		}
		pass(5 * time.Second)
		if client.Err() == nil || !strings.Contains(client.Err().Error(), "no way there") {
			t.Errorf("it ended because %v", client.Err())
		}
		if !log.has("no way there") || log.has("twice") || log.has("canceled") {
			t.Errorf("the log is %q", log.all)
		}
		_, _ = client.Close(), server.Close()
	})
}

// A pool that was used up grows, within its bounds, and comes down again.
func TestAPoolFollowsDemand(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		way := &served{}
		client, err := Dial(t.Context(), link.Config{Secret: "secret", Min: 2, Max: 10, Dial: way.dial(b)})
		if err != nil {
			t.Fatal(err)
		}
		server := <-b.Sessions()
		use := func(n int) {
			for range n {
				c, err := server.Open(t.Context(), link.TCP, "")
				if err != nil {
					t.Fatal(err)
				}
				r, err := client.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				_, _ = c.Close(), r.Stream.Close()
			}
		}
		var sizes []int
		for range 4 {
			pass(6 * time.Second)
			sizes = append(sizes, client.Stats().Pool)
			use(client.Stats().Pool)
		}
		if sizes[0] != 2 || sizes[1] != 4 || sizes[2] != 8 || sizes[3] != 10 {
			t.Errorf("the pool was %v", sizes)
		}
		pass(2 * time.Minute)
		for range 12 {
			use(1)
			pass(time.Second)
		}
		if n := client.Stats().Pool; n > 4 {
			t.Errorf("%d are left", n)
		}
		_, _ = client.Close(), server.Close()
	})
}

// What waits is bounded: neither users here nor signals of the peer pile up.
func TestWhatWaitsForConnectionsIsBounded(t *testing.T) {
	simulated(t, tunnelurl.Server, func(t *testing.T, b *bench) {
		s, c, _ := b.client("192.0.2.1")
		b.keepBeating(c)
		udp, err := s.Open(t.Context(), link.UDP, "")
		if err != nil {
			t.Fatal(err)
		}
		for range 1024 {
			if _, err := udp.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := udp.Write([]byte("hello")); err == nil {
			t.Error("one more is taken")
		}
		pass(6 * time.Second) // then those are lost
		if n := waiting(s); n != 0 || !b.log.has("no connection was free for a datagram") {
			t.Errorf("%d wait; the log is %q", n, b.log.all)
		}
		if _, err := udp.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		_, _ = udp.Close(), c.Close()
	})
	simulated(t, tunnelurl.Client, func(t *testing.T, b *bench) {
		s, c, _ := b.client("192.0.2.1")
		b.keepBeating(c)
		for range 1030 {
			_, _ = c.Write(append(six("//21d105dd#1"), '\n'))
		}
		synctest.Wait()
		if n := waiting(s); n != 1024 || !b.log.has("faster than they are taken care of") {
			t.Errorf("%d wait; the log is %q", n, b.log.all)
		}
		_ = c.Close()
	})
}

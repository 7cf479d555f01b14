package carry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/node/tunnel/carry"
)

// a line is a Carrier at work between a user and a target.
type line struct {
	user, target   *net.TCPConn
	received, sent chan int
	done           chan error
	cut            context.CancelFunc
}

// begin carries between a user and a target.
func begin(t *testing.T, c *carry.Carrier, block carry.Block) *line {
	t.Helper()
	user, near := pair(t)
	target, far := pair(t)
	ctx, cancel := context.WithCancel(bounded(t))
	l := &line{user, target, make(chan int, 1000), make(chan int, 1000), make(chan error, 1), cancel}
	go func() {
		l.done <- c.TCP(ctx, block.Sieve(near), far, func(n int) { l.received <- n }, func(n int) { l.sent <- n })
	}()
	t.Cleanup(cancel)
	return l
}

func TestEitherDirectionEndsByItself(t *testing.T) {
	for _, userFirst := range []bool{true, false} {
		l := begin(t, &carry.Carrier{}, "")
		one, other := l.user, l.target
		if !userFirst {
			one, other = other, one
		}
		want := bytes.Repeat([]byte("0123456789"), 20_000)
		go func() {
			_, _ = one.Write(want)
			_ = one.CloseWrite()
		}()
		got, err := io.ReadAll(other)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes arrived, %v", len(got), err)
		}
		// The other direction still goes.
		_, _ = other.Write([]byte("answer"))
		_ = other.CloseWrite()
		if got, err := io.ReadAll(one); err != nil || string(got) != "answer" {
			t.Fatalf("the answer is %q, %v", got, err)
		}
		if err := <-l.done; err != nil {
			t.Errorf("ended with %v", err)
		}
	}
}

func TestBytesAreCountedWhileTheConnectionRuns(t *testing.T) {
	l := begin(t, &carry.Carrier{}, "")
	_, _ = l.user.Write([]byte("0123456789"))
	if n := <-l.received; n != 10 {
		t.Errorf("received %d", n)
	}
	_, _ = l.target.Write([]byte("01234567890123"))
	if n := <-l.sent; n != 14 {
		t.Errorf("sent %d", n)
	}
	l.cut()
	if err := <-l.done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestWhatIsCutDoesNotLookComplete(t *testing.T) {
	l := begin(t, &carry.Carrier{}, "")
	_, _ = l.user.Write([]byte("half"))
	if _, err := io.ReadFull(l.target, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	l.cut()
	if err := <-l.done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if _, err := l.target.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target reads %v", err)
	}
}

func TestWhatIsBlockedDoesNotReachTheTarget(t *testing.T) {
	l := begin(t, &carry.Carrier{}, "2")
	for _, piece := range []string{"G", "ET /", " HTTP/1.1\r\n\r\n"} {
		_, _ = l.user.Write([]byte(piece))
	}
	if err := <-l.done; !errors.Is(err, carry.ErrBlocked) {
		t.Errorf("ended with %v", err)
	}
	if n, err := l.target.Read(make([]byte, 10)); n != 0 || err == nil {
		t.Errorf("the target read %d bytes, %v", n, err)
	}
}

func TestTheTargetMaySpeakFirstWhateverIsBlocked(t *testing.T) {
	l := begin(t, &carry.Carrier{}, "123")
	_, _ = l.target.Write([]byte("SSH-2.0\n"))
	if _, err := io.ReadFull(l.user, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	_, _ = l.user.Write([]byte("SSH-2.0-me\n"))
	if _, err := io.ReadFull(l.target, make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	_, _ = l.user.Write(nil)
	l.cut()
	if err := <-l.done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// piped is a connection in memory whose end can be passed on: net.Pipe's cannot.
type piped struct{ net.Conn }

func (p piped) CloseWrite() error { return p.Close() }

func TestRateAndIdleTimeHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, size = 125_000, 1_000_000
		user, near := net.Pipe()
		target, far := net.Pipe()
		c := &carry.Carrier{In: carry.NewRate(perSecond), Idle: time.Minute}
		done := make(chan error)
		go func() { done <- c.TCP(t.Context(), piped{near}, piped{far}, func(int) {}, func(int) {}) }()
		begun := time.Now()
		go func() { _, _ = user.Write(make([]byte, size)) }()
		if _, err := io.ReadFull(target, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("%d bytes at %d a second took %v", size, perSecond, took)
		}
		still := time.Now()
		if err := <-done; !errors.Is(err, carry.ErrIdle) {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(still); took < 59*time.Second || took > 61*time.Second {
			t.Errorf("idle for %v", took)
		}
	})
}

// Much is copied in another way than little, and by the kernel where it can be;
// it is counted all the same, while the connection runs.
func TestMuchIsCountedExactlyAndLive(t *testing.T) {
	for name, c := range map[string]*carry.Carrier{
		"by the kernel": {},
		"by us":         {In: carry.NewRate(1 << 40)},
		"with a watch":  {Idle: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			l := begin(t, c, "")
			var counted int
			until := func(want int) {
				t.Helper()
				for counted < want {
					select {
					case n := <-l.received:
						counted += n
					case err := <-l.done:
						t.Fatalf("ended with %v after %d of %d", err, counted, want)
					}
				}
				if counted != want {
					t.Fatalf("counted %d of %d", counted, want)
				}
			}
			const much = 8 << 20
			sum := 0
			for _, size := range []int{much, 1, 3000, much, 7} {
				sent := make(chan error)
				go func() {
					_, err := l.user.Write(bytes.Repeat([]byte("x"), size))
					sent <- err
				}()
				if _, err := io.CopyN(io.Discard, l.target, int64(size)); err != nil {
					t.Fatal(err)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				sum += size
				until(sum)
			}
			_ = l.user.CloseWrite()
			_, _ = l.target.Write([]byte("answer"))
			_ = l.target.CloseWrite()
			if got, err := io.ReadAll(l.user); string(got) != "answer" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if err := <-l.done; err != nil {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

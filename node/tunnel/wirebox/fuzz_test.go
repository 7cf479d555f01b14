package wirebox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/protobuf/proto"

	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// What is read of a message is what is written of it, and no more is taken than
// a message has.
func FuzzMessages(f *testing.F) {
	kinds := []proto.Message{
		&signalboxv1.TunnelHello{Proof: []byte("proof"), Receives: signalboxv1.TunnelEnd_TUNNEL_END_CLIENT},
		&signalboxv1.TunnelWelcome{Refused: "no"},
		&signalboxv1.TunnelOpen{Udp: true, User: "192.0.2.1:1"},
		&signalboxv1.TunnelAnswer{Error: "no"},
	}
	for _, m := range kinds {
		var b bytes.Buffer
		if err := writeMessage(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0, 0})
	f.Add([]byte{0x10, 0x01})
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range kinds {
			r := bytes.NewReader(b)
			m, again := kind.ProtoReflect().New().Interface(), kind.ProtoReflect().New().Interface()
			err := readMessage(r, m)
			if taken := len(b) - r.Len(); taken > 2+maxMessage {
				t.Fatalf("%d bytes were taken", taken)
			}
			if err != nil {
				continue
			}
			var w bytes.Buffer
			if err := errors.Join(writeMessage(&w, m), readMessage(&w, again)); err != nil || !proto.Equal(m, again) {
				t.Fatalf("%v came back as %v, %v", m, again, err)
			}
		}
	})
}

// Every reason can be told.
func FuzzReasons(f *testing.F) {
	f.Add("connection refused")
	f.Add(strings.Repeat("ä", maxMessage/4) + "xä")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, reason string) {
		if err := writeMessage(io.Discard, &signalboxv1.TunnelAnswer{Error: cut(reason, maxMessage/2)}); err != nil {
			t.Fatal(err)
		}
	})
}

// peer is a session at which users are sent to targets, and the bare mux of the
// other end.
func peer(t *testing.T) (*session, *yamux.Session) {
	t.Helper()
	here, there := net.Pipe()
	s, err := newSession(here, tunnelurl.Server, tunnelurl.Client)
	if err != nil {
		t.Fatal(err)
	}
	c := yamux.DefaultConfig()
	c.LogOutput, c.EnableKeepAlive, c.StreamCloseTimeout = io.Discard, false, 0
	mux, err := yamux.Client(there, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = mux.Close()
		_ = s.Close()
	})
	return s, mux
}

// say opens a stream, sends b on it and ends it.
func say(t *testing.T, mux *yamux.Session, b []byte) {
	t.Helper()
	raw, err := mux.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
}

// asking is how a stream begins.
func asking(t testing.TB, m *signalboxv1.TunnelOpen) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeMessage(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whatever a stream begins with, it is a request or nothing, and the next one is
// served.
func FuzzBeginning(f *testing.F) {
	f.Add(asking(f, &signalboxv1.TunnelOpen{Udp: true, User: "192.0.2.1:1"}))
	f.Add([]byte{0, 1})
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2*maxMessage {
			t.Skip()
		}
		const next = "the next one"
		want := map[string]link.Kind{next: link.TCP}
		said := new(signalboxv1.TunnelOpen)
		if readMessage(bytes.NewReader(b), said) == nil {
			if said.GetUser() == next {
				t.Skip()
			}
			want[said.GetUser()] = link.TCP
			if said.GetUdp() {
				want[said.GetUser()] = link.UDP
			}
		}
		s, mux := peer(t)
		say(t, mux, b)
		say(t, mux, asking(t, &signalboxv1.TunnelOpen{User: next}))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for len(want) > 0 {
			r, err := s.Accept(ctx)
			if err != nil {
				t.Fatalf("%v is still to come: %v", want, err)
			}
			if kind, ok := want[r.User]; !ok || kind != r.Kind {
				t.Fatalf("%v for %q", r.Kind, r.User)
			}
			delete(want, r.User)
			_ = r.Stream.Close()
		}
	})
}

// framed is what the frames of b hold, and whether they end as those of TCP do.
func framed(b []byte) (frames [][]byte, end bool) {
	for len(b) >= 2 {
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; n == 0 {
			end = true
		}
		if n > len(b) {
			return append(frames, b), end
		}
		frames, b = append(frames, b[:n]), b[n:]
	}
	return frames, end
}

// Frames that the peer sends are read as they are, or not at all.
func FuzzFrames(f *testing.F) {
	f.Add(false, []byte("\x00\x05hello\x00\x01x\x00\x00"))
	f.Add(true, []byte("\x00\x05hello\x00\x00\x00\x01x"))
	f.Add(false, []byte("\x00\x05hel"))
	f.Add(true, []byte("\xff\xffx"))
	f.Fuzz(func(t *testing.T, udp bool, b []byte) {
		if len(b) > 100_000 {
			t.Skip()
		}
		s, mux := peer(t)
		say(t, mux, append(asking(t, &signalboxv1.TunnelOpen{Udp: udp}), b...))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := s.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Stream.Close()
		if udp {
			readDatagrams(t, r.Stream.(*datagrams), b)
		} else {
			readConnection(t, r.Stream, b)
		}
	})
}

// readDatagrams reads all that are whole.
func readDatagrams(t *testing.T, d *datagrams, b []byte) {
	t.Helper()
	buf := make([]byte, link.MaxDatagram)
	for len(b) >= 2 && 2+int(binary.BigEndian.Uint16(b)) <= len(b) {
		want := b[2 : 2+int(binary.BigEndian.Uint16(b))]
		if size, err := d.Next(); err != nil || size != len(want) {
			t.Fatalf("%d bytes of %d are to come, %v", size, len(want), err)
		}
		if n, err := d.Read(buf); err != nil || !bytes.Equal(buf[:n], want) {
			t.Fatalf("%q and not %q, %v", buf[:n], want, err)
		}
		b = b[2+len(want):]
	}
	if n, err := d.Read(buf); err == nil {
		t.Fatalf("%q after the last", buf[:n])
	}
}

// readConnection reads all there is until the empty frame, or the end.
func readConnection(t *testing.T, s link.Stream, b []byte) {
	t.Helper()
	frames, end := framed(b)
	var want []byte
	for _, frame := range frames {
		if len(frame) == 0 && end {
			break
		}
		want = append(want, frame...)
	}
	got, err := io.ReadAll(s)
	if !bytes.Equal(got, want) || end != (err == nil) {
		t.Fatalf("%q and not %q, %v", got, want, err)
	}
}

// Whatever a peer sends instead of streams, the session ends.
func FuzzMux(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 2, 8, 1})
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		s, err := newSession(here, tunnelurl.Server, tunnelurl.Client)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, there)
		}()
		_, _ = there.Write(b)
		_ = there.Close()
		<-s.Done()
		_ = s.Close()
		<-read
	})
}

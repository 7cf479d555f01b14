package wirebox

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"signalbox/node/tunnel/link"
)

// queued is how many datagrams of one user wait to be sent. More are lost, as
// datagrams are where they come too fast.
const queued = 64

// maxQueued bounds what all users of a session have queued, in bytes.
const maxQueued = 4 << 20

// datagrams are those of one user's address.
type datagrams struct {
	*half
	queue chan []byte
	gone  chan struct{} // closed with left

	mu   sync.Mutex // guards left, and that nothing is queued after it
	left bool

	// The reader's alone: whether the length of the next one is known, and what
	// it is.
	known bool
	size  int
}

func newDatagrams(h *half) *datagrams {
	d := &datagrams{half: h, queue: make(chan []byte, queued), gone: make(chan struct{})}
	h.session.run(d.send)
	return d
}

// send sends what is queued, each in a frame.
func (d *datagrams) send() {
	defer d.forget()
	for {
		select {
		case frame := <-d.queue:
			_, err := d.raw.Write(frame)
			d.session.queued.Add(-int64(len(frame)))
			if err != nil {
				return
			}
		case <-d.gone:
			return
		case <-d.session.ctx.Done():
			return
		}
	}
}

// forget loses what is still queued.
func (d *datagrams) forget() {
	d.leave()
	for {
		select {
		case frame := <-d.queue:
			d.session.queued.Add(-int64(len(frame)))
		default:
			return
		}
	}
}

// Read implements [link.Stream].
func (d *datagrams) Read(p []byte) (int, error) {
	return d.read(func() (int, error) { return d.next(p) })
}

// Next waits for a datagram and says how long it is. Who waits so needs no
// buffer meanwhile.
func (d *datagrams) Next() (int, error) { return d.read(d.length) }

// length reads how long the next one is, once.
func (d *datagrams) length() (int, error) {
	if d.known {
		return d.size, nil
	}
	var head [2]byte
	if _, err := io.ReadFull(d.raw, head[:]); err != nil {
		return 0, err
	}
	d.known, d.size = true, int(binary.BigEndian.Uint16(head[:]))
	return d.size, nil
}

// next reads the next one.
func (d *datagrams) next(p []byte) (int, error) {
	size, err := d.length()
	if err != nil {
		return 0, err
	}
	d.known = false
	n, err := io.ReadFull(d.raw, p[:min(size, len(p))])
	if err == nil && size > n {
		_, err = io.CopyN(io.Discard, d.raw, int64(size-n))
	}
	if err != nil {
		return 0, broken(err)
	}
	return n, nil
}

// Write implements [link.Stream]. It never waits.
func (d *datagrams) Write(p []byte) (int, error) {
	if len(p) > link.MaxDatagram {
		return 0, fmt.Errorf("a datagram has %d bytes; there are none longer than %d", len(p), link.MaxDatagram)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left {
		return 0, errGone
	}
	if d.session.queued.Load()+int64(2+len(p)) > maxQueued {
		return len(p), nil // lost
	}
	frame := make([]byte, 2+len(p))
	binary.BigEndian.PutUint16(frame, uint16(len(p)))
	copy(frame[2:], p)
	select {
	case d.queue <- frame:
		d.session.queued.Add(int64(len(frame)))
	default: // lost
	}
	return len(p), nil
}

// CloseWrite implements [link.Stream].
func (d *datagrams) CloseWrite() error { return nil }

// leave tells the writer and send that it is over.
func (d *datagrams) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.left {
		d.left = true
		close(d.gone)
	}
}

// Close implements [link.Stream].
func (d *datagrams) Close() error {
	d.leave()
	d.close()
	return nil
}

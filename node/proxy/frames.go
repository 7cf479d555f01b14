package proxy

import "encoding/binary"

// frames follows the frames of one direction of a WebSocket (RFC 6455, section
// 5.2), so that it is known where one may be added.
type frames struct {
	head   [14]byte // of the frame that begins
	have   int      // bytes of head that are there
	rest   uint64   // bytes of the frame that are still to come after its head
	closed bool     // a close frame has gone by: nothing may follow
}

// The close frames of a peer that goes away (section 7.4.1, status 1001), as a
// server and as a client sends it; the latter masked, with zeros.
var (
	goingAway       = []byte{0x88, 2, 0x03, 0xe9}
	goingAwayMasked = []byte{0x88, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xe9}
)

// pass takes note of bytes that go by.
func (f *frames) pass(p []byte) {
	for len(p) > 0 {
		if f.rest > 0 {
			n := min(f.rest, uint64(len(p)))
			f.rest -= n
			p = p[n:]
			continue
		}
		n := copy(f.head[f.have:f.size()], p)
		f.have += n
		p = p[n:]
		if f.have == f.size() && f.have >= 2 {
			f.begin()
		}
	}
}

// skip takes note of n bytes of the present frame, unseen.
func (f *frames) skip(n int64) { f.rest -= uint64(n) }

// size is how long the head is, as far as that is known.
func (f *frames) size() int {
	if f.have < 2 {
		return 2
	}
	size := 2
	switch f.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.head[1]&0x80 != 0 {
		size += 4 // the mask
	}
	return size
}

// begin reads a head that is complete.
func (f *frames) begin() {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		f.rest = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		f.rest = binary.BigEndian.Uint64(f.head[2:])
	default:
		f.rest = uint64(n)
	}
	f.closed = f.closed || f.head[0]&0x0f == 8
	f.have = 0
}

// mayAdd tells whether a frame may be sent here.
func (f *frames) mayAdd() bool { return f.rest == 0 && f.have == 0 && !f.closed }

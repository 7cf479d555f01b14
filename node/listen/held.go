package listen

import "sync"

// held are bytes that were read from a connection and not yet given to its
// reader, first those that may be given, then those still to be checked. It
// takes a buffer only while it has something to hold, so that an idle
// connection costs none.
type held struct {
	buf    []byte
	pooled *[heldSize]byte // the array of buf, if it is one of the pool's
	given  int             // buf[:given] has been given
	ok     int             // buf[given:ok] may be given
	end    int             // buf[ok:end] is to be checked
}

// heldSize is what is held in a pooled buffer, in bytes; more takes a buffer
// that is thrown away.
const heldSize = 4 << 10

var heldBuffers = sync.Pool{New: func() any { return new([heldSize]byte) }}

func (h *held) empty() bool       { return h.given == h.end }
func (h *held) unchecked() []byte { return h.buf[h.ok:h.end] }

// settle notes that of the unchecked bytes the first n may be given, and that
// the first size of them are what is left of them all.
func (h *held) settle(n, size int) {
	h.end = h.ok + size
	h.ok += n
	h.release()
}

// give copies to p what may be given.
func (h *held) give(p []byte) int {
	n := copy(p, h.buf[h.given:h.ok])
	h.given += n
	h.release()
	return n
}

// add takes in bytes to be checked.
func (h *held) add(b []byte) {
	if len(b) > 0 {
		h.end += copy(h.room(len(b)), b)
	}
}

// room is free space of at least size bytes after what is held. Whoever writes
// to its start adds as much to end.
func (h *held) room(size int) []byte {
	if h.buf == nil && size <= heldSize {
		h.pooled = heldBuffers.Get().(*[heldSize]byte)
		h.buf = h.pooled[:]
	}
	if len(h.buf)-h.end < size {
		h.move(size)
	}
	return h.buf[h.end:]
}

// move makes room, in the same buffer if possible, else in one twice as large.
func (h *held) move(size int) {
	to, need := h.buf, h.end-h.given+size
	if need > len(to) {
		to = make([]byte, max(need, 2*len(to)))
	}
	copy(to, h.buf[h.given:h.end])
	h.ok, h.end, h.given = h.ok-h.given, h.end-h.given, 0
	if len(to) > len(h.buf) {
		h.unpool()
		h.buf = to
	}
}

// take empties h and returns a copy of all it held.
func (h *held) take() []byte {
	if h.empty() {
		return nil
	}
	all := append([]byte(nil), h.buf[h.given:h.end]...)
	h.given = h.end
	h.release()
	return all
}

// release gives the buffer back once it holds nothing.
func (h *held) release() {
	if h.empty() {
		h.unpool()
		*h = held{}
	}
}

func (h *held) unpool() {
	if h.pooled != nil {
		heldBuffers.Put(h.pooled)
		h.pooled = nil
	}
}

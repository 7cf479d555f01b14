package proxy

import "testing"

// Where a frame ends does not depend on how its bytes arrive.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x82\x05hello\x89\x00\x81\x7e\x01\x00"), uint8(3))
	f.Add([]byte("\x82\x85\x01\x02\x03\x04hello\x88\x02\x03\xe8"), uint8(1))
	f.Add([]byte("\x82\xff\x00\x00\x00\x00\x00\x00\x00\x02abcdxy"), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		var whole, parts frames
		whole.pass(b)
		for rest := b; len(rest) > 0; {
			n := min(int(cut)%7+1, len(rest))
			parts.pass(rest[:n])
			rest = rest[n:]
		}
		whole.head, parts.head = [14]byte{}, [14]byte{} // what is left there of frames before
		if whole != parts {
			t.Fatalf("%x: %+v at once, %+v in parts", b, whole, parts)
		}
	})
}

func TestAFrameMayBeAddedBetweenTwo(t *testing.T) {
	for in, want := range map[string]bool{
		"":                              true,
		"\x82\x05hello":                 true,
		"\x82\x05hell":                  false,
		"\x82":                          false,
		"\x82\x7e\x00\x01x":             true,
		"\x82\x7e\x00":                  false,
		"\x82\x85\x01\x02\x03\x04hello": true,
		"\x82\x80\x01\x02\x03":          false, // in the mask
		"\x82\x00\x89\x00":              true,
		"\x88\x02\x03\xe8":              false, // after a close frame nothing follows
		"\x02\x01a\x80\x01b":            true,  // fragments are frames of their own
		"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01": false,
	} {
		var f frames
		f.pass([]byte(in))
		if f.mayAdd() != want {
			t.Errorf("%x: %v", in, !want)
		}
	}
}

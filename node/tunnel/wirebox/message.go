package wirebox

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// maxMessage bounds a message of the handshake and of a stream's beginning, in
// bytes.
const maxMessage = 4096

// writeMessage sends a message behind its length.
func writeMessage(w io.Writer, m proto.Message) error {
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 2, 128), m)
	if err != nil {
		return err
	}
	if len(b)-2 > maxMessage {
		return fmt.Errorf("a message has %d bytes; at most %d are sent", len(b)-2, maxMessage)
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	_, err = w.Write(b)
	return err
}

// readMessage reads what writeMessage sent.
func readMessage(r io.Reader, m proto.Message) error {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n > maxMessage {
		return fmt.Errorf("a message has %d bytes; at most %d are taken", n, maxMessage)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return proto.Unmarshal(b, m)
}

package node

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"signalbox/node/feed"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// The last-known-good file holds a table as control planes send one: Update
// messages, those of the whole state first, then one update from its version
// to itself with the records that were refused. So reading it ends in the same
// table with the same refusals, or in a better one if the node has learned to
// take what it refused.
//
// The form is: magic, then for every message its length in 4 bytes, big
// endian, and its bytes; then a length of zero and the CRC-32C of everything
// before, in 4 bytes. A file that is not whole is not used at all.
const (
	fileName  = "last-known-good"
	fileMagic = "signalbox table 1\n"
	// framePayload is about how large a message is made.
	framePayload = 256 << 10
	// frameLimit bounds what is believed to be a length.
	frameLimit = 16 << 20
)

// Fields of Update that are written by hand around records already encoded,
// and of which there are many.
const (
	updateFrom    protowire.Number = 1
	updateTo      protowire.Number = 2
	updatePart    protowire.Number = 3
	updateParts   protowire.Number = 4
	updateUpserts protowire.Number = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeState writes a state in the place of the file in dir, so that at every
// moment there is a whole file: the one before or this one.
func writeState(dir string, s *state) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, fileName)
	// What a process that died has left is not written over, but made anew:
	// with our mode, and through nobody's link.
	if err := os.Remove(path + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(s.write(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".tmp"))
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// write writes the form described above.
func (s *state) write(w io.Writer) error {
	version, err := proto.Marshal(s.version)
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(w, 64<<10)
	both := io.MultiWriter(out, sum)
	write := func(b []byte) {
		if err == nil {
			_, err = both.Write(b)
		}
	}
	write([]byte(fileMagic))
	for _, part := range [][]byte{nil, version} {
		records := s.good
		if part != nil {
			records = s.refused
		}
		for _, u := range updates(part, version, records) {
			write(binary.BigEndian.AppendUint32(nil, uint32(len(u))))
			write(u)
		}
	}
	write(make([]byte, 4))
	write(sum.Sum(nil))
	return errors.Join(err, out.Flush())
}

// updates are the encoded parts of an update with these records; from is nil
// for a whole state.
func updates(from, to []byte, records map[feed.Key][]byte) [][]byte {
	var groups [][][]byte
	size := framePayload
	for _, key := range slices.SortedFunc(maps.Keys(records), compareKeys) {
		if size >= framePayload {
			groups, size = append(groups, nil), 0
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], records[key])
		size += len(records[key])
	}
	if len(groups) == 0 {
		if from != nil {
			return nil
		}
		groups = [][][]byte{nil} // a whole state with nothing in it
	}
	all := make([][]byte, len(groups))
	for i, group := range groups {
		var b []byte
		if from != nil {
			b = appendBytes(b, updateFrom, from)
		}
		b = appendBytes(b, updateTo, to)
		b = protowire.AppendVarint(protowire.AppendTag(b, updatePart, protowire.VarintType), uint64(i+1))
		b = protowire.AppendVarint(protowire.AppendTag(b, updateParts, protowire.VarintType), uint64(len(groups)))
		for _, record := range group {
			b = appendBytes(b, updateUpserts, record)
		}
		all[i] = b
	}
	return all
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func compareKeys(a, b feed.Key) int {
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	return bytes.Compare([]byte(a.Name), []byte(b.Name))
}

// readState reads what writeState wrote, as changes to apply in turn: none if
// there is no file.
func readState(dir string) ([]*feed.Change, error) {
	path := filepath.Join(dir, fileName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	changes, err := parseState(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return changes, nil
}

// parseState is the inverse of write.
func parseState(b []byte) ([]*feed.Change, error) {
	body, found := bytes.CutPrefix(b, []byte(fileMagic))
	if !found {
		return nil, errors.New("it does not begin as a last-known-good file of this version does")
	}
	if len(body) < 8 {
		return nil, errors.New("it ends too early")
	}
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return nil, errors.New("its checksum does not match: it is damaged or cut short")
	}
	body = body[:len(body)-4]
	var changes []*feed.Change
	var assembler feed.Assembler
	for {
		frame, rest, err := nextFrame(body)
		if err != nil {
			return nil, err
		}
		if frame == nil {
			break
		}
		body = rest
		u := new(signalboxv1.Update)
		if err := proto.Unmarshal(frame, u); err != nil {
			return nil, fmt.Errorf("message %d: %w", len(changes), err)
		}
		c, err := assembler.Take(u)
		if err != nil {
			return nil, err
		}
		if c != nil {
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 || !changes[0].Whole {
		return nil, errors.New("it does not hold a whole state")
	}
	return changes, nil
}

// nextFrame splits the next message off; nil at the end of all.
func nextFrame(b []byte) (frame, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errors.New("it ends in the middle of a message")
	}
	size := binary.BigEndian.Uint32(b)
	switch {
	case size == 0 && len(b) == 4:
		return nil, nil, nil
	case size == 0 || size > frameLimit || int(size) > len(b)-4:
		return nil, nil, fmt.Errorf("a message of %d bytes cannot be in it", size)
	}
	return b[4 : 4+size], b[4+size:], nil
}

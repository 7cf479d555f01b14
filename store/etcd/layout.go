package etcd

import (
	"fmt"
	"net/url"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/store"
)

// layout is where things are in etcd:
//
//	/signalbox/v1/<kind>/<name>           a record
//	/signalbox/v1/head                    written in every transaction of records
//	/signalbox/v1/epoch                   names the history; see epoch.go
//	/signalbox/internal/claim/<name>      the key of the record that holds it
//	/signalbox/internal/note/<name>       a note
//	/signalbox/internal/election/<name>/  who stands, by lease
//
// Followers watch all of /signalbox/v1/ at once, the head and the epoch with
// it: so a transaction that only moved the head is seen, and a new epoch too.
// No kind of record has a name without a slash, so the two are never mistaken
// for records.
type layout struct {
	prefix string // before all of the above
}

// records is the prefix of all that is followed.
func (l layout) records() string { return l.prefix + "/signalbox/v1/" }

func (l layout) record(k store.Key) string { return l.records() + k.String() }

func (l layout) head() string { return l.records() + "head" }

func (l layout) epoch() string { return l.records() + "epoch" }

func (l layout) internal() string { return l.prefix + "/signalbox/internal/" }

func (l layout) claim(name string) string { return l.internal() + "claim/" + name }

func (l layout) note(name string) string { return l.internal() + "note/" + name }

// election is the prefix under which the sessions that stand have a key each.
func (l layout) election(name string) string {
	return l.internal() + "election/" + url.PathEscape(name) + "/"
}

// candidate is the key of one of them.
func (l layout) candidate(election string, lease clientv3.LeaseID) string {
	return fmt.Sprintf("%s%016x", l.election(election), int64(lease))
}

// recordKey returns the record that an etcd key stands for.
func (l layout) recordKey(key []byte) (store.Key, bool) {
	return store.ParseKey(strings.TrimPrefix(string(key), l.records()))
}

// noteName returns the note that an etcd key stands for.
func (l layout) noteName(key []byte) string {
	return strings.TrimPrefix(string(key), l.note(""))
}

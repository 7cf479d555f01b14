package chp

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// timeFormat is how JavaScript writes a time: UTC, to the millisecond.
const timeFormat = "2006-01-02T15:04:05.000Z"

// member is one field of a JSON object, as it was written.
type member struct {
	name  string // decoded
	key   []byte // with its quotes
	value []byte
}

// object is a JSON object's fields, in order.
type object []member

// parseObject reads a JSON object without looking into its values. As in
// JavaScript, of fields with one name the last counts, in the first one's
// place. It returns nil for JSON that is no object.
func parseObject(data []byte) (object, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil { // nothing may follow it
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, err
	}
	o := object{}
	for dec.More() {
		before := dec.InputOffset()
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: bytes.TrimLeft(data[before:dec.InputOffset()], ", \t\r\n")}
		m.name, _ = name.(string)
		if err := dec.Decode((*json.RawMessage)(&m.value)); err != nil {
			return nil, err
		}
		o.put(m)
	}
	return o, nil
}

// put sets a field.
func (o *object) put(m member) {
	if i := o.index(m.name); i >= 0 {
		(*o)[i].value = m.value
		return
	}
	*o = append(*o, m)
}

func (o object) index(name string) int {
	return slices.IndexFunc(o, func(m member) bool { return m.name == name })
}

// without is the object without some fields.
func (o object) without(names ...string) object {
	return slices.DeleteFunc(slices.Clone(o), func(m member) bool { return slices.Contains(names, m.name) })
}

// appendMembers writes the fields, separated by commas.
func (o object) appendMembers(b []byte) []byte {
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, m.key...)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return b
}

// posted is what a POST says of a route.
type posted struct {
	target string // as it was sent
	url    string // what it stands for
	data   string // the extra fields, one object, or empty if there are none
}

// parsePosted reads a POST's body. host, unless empty, replaces any field of
// that name, as CHP does under host routing.
func parsePosted(body []byte, host string) (posted, error) {
	o, err := parseObject(body)
	if err != nil {
		return posted{}, &refusal{http.StatusBadRequest, "Body not valid JSON: SyntaxError: " + err.Error()}
	}
	i := o.index("target")
	var p posted
	if i < 0 || o[i].value[0] != '"' || json.Unmarshal(o[i].value, &p.target) != nil {
		return posted{}, &refusal{http.StatusBadRequest, "Must specify 'target' as string"}
	}
	if p.url, err = usable(p.target); err != nil {
		return posted{}, &refusal{http.StatusBadRequest, "'target' " + err.Error()}
	}
	extra := o.without("target", "last_activity")
	if p.url != p.target {
		extra.put(o[i])
	}
	if host != "" {
		extra.put(member{name: "host", key: []byte(`"host"`), value: appendQuoted(nil, host)})
	}
	if len(extra) > 0 {
		p.data = "{" + string(extra.appendMembers(nil)) + "}"
	}
	return p, nil
}

// appendQuoted writes a JSON text as JavaScript does, which leaves < and & alone.
func appendQuoted(b []byte, s string) []byte {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a text in memory: it cannot fail
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// appendObject writes a route as CHP shows it: target, extra fields, last
// activity.
func appendObject(b []byte, e *signalboxv1.RouteEntry) []byte {
	b = append(b, `{"target":`...)
	b = appendQuoted(b, shownTarget(e.GetRoute()))
	if extra := extras(e.GetRoute().GetData()); len(extra) > 0 {
		b = append(b, ',')
		b = append(b, extra...)
	}
	b = append(b, `,"last_activity":"`...)
	b = lastActivity(e).AppendFormat(b, timeFormat)
	return append(b, `"}`...)
}

// shownTarget is a route's target as it was sent: JupyterHub compares it as a
// text. Where that is not what requests go to, it is kept beside the extra
// fields, and counts for as long as it stands for that.
func shownTarget(r *signalboxv1.Route) string {
	now := r.GetUpstreams()[0].GetUrl()
	if !strings.Contains(r.GetData(), `"target"`) {
		return now
	}
	var sent struct {
		Target string `json:"target"`
	}
	if json.Unmarshal([]byte(r.GetData()), &sent) != nil {
		return now
	}
	if url, err := usable(sent.Target); err != nil || url != now {
		return now
	}
	return sent.Target
}

// extras returns the fields in a route's data, less those that CHP keeps
// itself, which only a client of another API can have put there.
func extras(data string) string {
	if !strings.Contains(data, `"target"`) && !strings.Contains(data, `"last_activity"`) && !strings.Contains(data, `\u`) {
		inner := strings.TrimSpace(data)
		inner = strings.TrimSuffix(strings.TrimPrefix(inner, "{"), "}")
		return strings.TrimSpace(inner)
	}
	o, err := parseObject([]byte(data))
	if err != nil {
		return "" // never: data is checked when it is written
	}
	return string(o.without("target", "last_activity").appendMembers(nil))
}

// lastActivity is when a route last carried anything or was written, in UTC.
func lastActivity(e *signalboxv1.RouteEntry) time.Time {
	if at := e.GetObserved().GetLastActivity(); at != nil {
		return at.AsTime()
	}
	return e.GetRoute().GetMeta().GetUpdateTime().AsTime()
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"signalbox/node/certfile"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxImport bounds what a master may answer, in bytes.
const maxImport = 64 << 20

// An oldMaster is a NodePass master whose instances are taken over.
type oldMaster struct {
	list, key string
	// shown is list for people: without the password that a proxy before the
	// master may ask for.
	shown  string
	client *http.Client
}

// newOldMaster reads where a master is: its URL with or without the "/v1" that
// it has below its prefix, or without a path for the usual one.
func newOldMaster(raw, key string, files certfile.Client) (*oldMaster, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &usageError{errors.New("the master's URL must be as http://10.0.0.5:9090/api/v1")}
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if u.Path == "" {
		u.Path = "/api"
	}
	if !strings.HasSuffix(u.Path, "/v1") {
		u.Path += "/v1"
	}
	u.Path += "/instances"
	u.RawQuery, u.Fragment = "", ""
	files.Enabled = true
	secure, err := files.Config()
	if err != nil {
		return nil, &usageError{fmt.Errorf("--old-ca: %w", err)}
	}
	return &oldMaster{list: u.String(), shown: u.Redacted(), key: key, client: &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, DisableKeepAlives: true},
		Timeout:   importTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("it sends elsewhere, which the key is not for")
		},
	}}, nil
}

// An oldInstance is one as masters from 1.4 to 1.14 show it.
type oldInstance struct {
	ID      string          `json:"id"`
	Alias   string          `json:"alias"`
	Status  string          `json:"status"`
	URL     string          `json:"url"`
	Restart bool            `json:"restart"`
	Tags    json.RawMessage `json:"tags"` // of 1.7 to 1.8.1
	Meta    struct {
		Peer struct{ SID, Type, Alias string } `json:"peer"`
		Tags json.RawMessage                   `json:"tags"`
	} `json:"meta"`
}

// instances asks for all of them, in order of their ids.
func (m *oldMaster) instances(ctx context.Context) ([]oldInstance, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.list, nil)
	if err != nil {
		return nil, &usageError{err}
	}
	req.Header.Set("X-API-Key", m.key)
	res, err := m.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the master: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxImport))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the master: %w", err)
	case res.StatusCode == http.StatusUnauthorized:
		return nil, errors.New("the master refuses its key: give another by --old-key-file or SIGNALBOX_OLD_KEY")
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the master answers %s at %s: give the path its API has, as /api/v1", res.Status, m.shown)
	}
	var all []oldInstance
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("what the master answers at %s is no list of instances: give the path its API has, as /api/v1", m.shown)
	}
	all = slices.DeleteFunc(all, func(o oldInstance) bool { return strings.Contains(o.ID, "*") }) // its key
	slices.SortFunc(all, func(a, b oldInstance) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// record is what is written for an instance. What failed there was to run.
func (o *oldInstance) record() *signalboxv1.Instance {
	i := &signalboxv1.Instance{
		Name: o.ID, Alias: o.Alias, Url: o.URL, Restart: o.Restart,
		Wanted: signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING,
		Tags:   oldTags(o.Meta.Tags),
	}
	if o.Status == "stopped" {
		i.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
	}
	if i.Tags == nil {
		i.Tags = oldTags(o.Tags)
	}
	if p := o.Meta.Peer; p.SID+p.Type+p.Alias != "" {
		i.Peer = &signalboxv1.InstancePeer{Sid: p.SID, Type: p.Type, Alias: p.Alias}
	}
	return i
}

// oldTags reads tags: an object, or before 1.8.2 a list of keys and values.
func oldTags(raw json.RawMessage) map[string]string {
	var tags map[string]string
	if json.Unmarshal(raw, &tags) == nil && len(tags) > 0 {
		return tags
	}
	var list []struct{ Key, Value string }
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return nil
	}
	tags = map[string]string{}
	for _, t := range list {
		tags[t.Key] = t.Value
	}
	return tags
}

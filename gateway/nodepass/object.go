package nodepass

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// keyID is the id of the instance that stands for the caller's API key.
const keyID = "********"

// What an instance's status can be.
const (
	running = "running"
	stopped = "stopped"
	failed  = "error"
)

// instance is one as NodePass 1.14 shows it, field by field in its order. 1.4
// has fewer fields; its clients do not mind, and some newer ones end when meta
// is not whole.
type instance struct {
	ID      string `json:"id"`
	Alias   string `json:"alias"`
	Type    string `json:"type"`
	Status  string `json:"status"`
	URL     string `json:"url"`
	Config  string `json:"config"`
	Restart bool   `json:"restart"`
	Meta    meta   `json:"meta"`
	Mode    int    `json:"mode"`
	Ping    int64  `json:"ping"` // milliseconds
	Pool    int64  `json:"pool"`
	TCPs    int64  `json:"tcps"`
	UDPs    int64  `json:"udps"`
	TCPRx   uint64 `json:"tcprx"`
	TCPTx   uint64 `json:"tcptx"`
	UDPRx   uint64 `json:"udprx"`
	UDPTx   uint64 `json:"udptx"`
}

// meta is what panels keep with an instance.
type meta struct {
	Peer peer              `json:"peer"`
	Tags map[string]string `json:"tags"`
}

// peer is what panels know of the other end.
type peer struct {
	SID   string `json:"sid"`
	Type  string `json:"type"`
	Alias string `json:"alias"`
}

// keyObject is the instance that stands for a key. Its config is the master's
// id.
func keyObject(secret, master string) instance {
	return instance{ID: keyID, URL: secret, Config: master, Meta: meta{Tags: map[string]string{}}}
}

// object is an instance as it is shown.
func object(i *signalboxv1.Instance) instance {
	o := withoutConfig(i)
	o.Config = configOf(o.URL)
	return o
}

// withoutConfig is object without what follows from the URL: enough to compare,
// and much cheaper.
func withoutConfig(i *signalboxv1.Instance) instance {
	seen := i.GetObserved()
	o := instance{
		ID: i.GetName(), Alias: i.GetAlias(), Type: role(i.GetUrl()), Status: statusOf(seen.GetState()),
		URL: i.GetUrl(), Restart: i.GetRestart(),
		Meta: meta{
			Peer: peer{SID: i.GetPeer().GetSid(), Type: i.GetPeer().GetType(), Alias: i.GetPeer().GetAlias()},
			Tags: i.GetTags(),
		},
		TCPRx: seen.GetCounters().GetTcpReceived(), TCPTx: seen.GetCounters().GetTcpSent(),
		UDPRx: seen.GetCounters().GetUdpReceived(), UDPTx: seen.GetCounters().GetUdpSent(),
	}
	if o.Meta.Tags == nil {
		o.Meta.Tags = map[string]string{}
	}
	for _, run := range seen.GetRuns() {
		o.Pool += int64(run.GetPool())
		o.TCPs += int64(run.GetTcpConnections())
		o.UDPs += int64(run.GetUdpSessions())
		o.Ping = max(o.Ping, run.GetPing().AsDuration().Milliseconds())
		if o.Mode == 0 {
			o.Mode = modeOf(run.GetMode(), o.Type)
		}
	}
	return o
}

// role is a URL's scheme.
func role(url string) string {
	scheme, _, _ := strings.Cut(url, "://")
	return strings.ToLower(scheme)
}

// statusOf is NodePass's word for a state. What is being set up runs, as far as
// NodePass is concerned.
func statusOf(s signalboxv1.InstanceState) string {
	switch s {
	case signalboxv1.InstanceState_INSTANCE_STATE_RUNNING, signalboxv1.InstanceState_INSTANCE_STATE_STARTING:
		return running
	case signalboxv1.InstanceState_INSTANCE_STATE_ERROR:
		return failed
	}
	return stopped
}

// modeOf is the number that "mode" in a URL has for a mode.
func modeOf(m signalboxv1.InstanceMode, role string) int {
	switch {
	case m == signalboxv1.InstanceMode_INSTANCE_MODE_UNSPECIFIED:
		return 0
	case m == signalboxv1.InstanceMode_INSTANCE_MODE_SINGLE:
		return 1
	case m == signalboxv1.InstanceMode_INSTANCE_MODE_SERVER_RECEIVES && role == "server":
		return 1
	}
	return 2
}

// masterID is NodePass's id for a master, 16 hexadecimal digits. There is one
// for a whole installation: it follows from the epoch of its store.
func masterID(v *signalboxv1.Version) string {
	sum := sha256.Sum256([]byte("NodePass master of " + v.GetEpoch()))
	return hex.EncodeToString(sum[:8])
}

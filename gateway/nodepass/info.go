package nodepass

import (
	"net/http"
	"runtime"
	"time"
	"unicode/utf8"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxAlias is how long the master's alias can be, in characters.
const maxAlias = 256

// masterInfo is what GET /info answers, in the order of names, as NodePass
// does. The numbers are of the machine that the gateway runs on; those that are
// not known there are 0.
type masterInfo struct {
	Alias     string `json:"alias"`
	Arch      string `json:"arch"`
	CPU       int    `json:"cpu"` // in use since the last call, in percent
	CertFile  string `json:"crt"`
	DiskR     uint64 `json:"diskr"` // bytes since the machine started, as below
	DiskW     uint64 `json:"diskw"`
	KeyFile   string `json:"key"`
	Log       string `json:"log"`
	MemTotal  uint64 `json:"mem_total"` // bytes, as below
	MemUsed   uint64 `json:"mem_used"`
	MID       string `json:"mid"`
	Name      string `json:"name"`
	NetRX     uint64 `json:"netrx"`
	NetTX     uint64 `json:"nettx"`
	OS        string `json:"os"`
	SwapTotal uint64 `json:"swap_total"`
	SwapUsed  uint64 `json:"swap_used"`
	SysUp     uint64 `json:"sysup"` // seconds since the machine started
	TLS       string `json:"tls"`
	Uptime    uint64 `json:"uptime"` // seconds since the gateway started
	Ver       string `json:"ver"`
}

// info answers who we are.
func (h *Handler) info(w http.ResponseWriter, r *http.Request, _ string) error {
	master, err := h.look(r.Context())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, h.about(master))
	return nil
}

// about is what there is to say.
func (h *Handler) about(master string) masterInfo {
	h.mu.Lock()
	alias := h.alias
	h.mu.Unlock()
	m := h.machine.read()
	return masterInfo{
		Alias: alias, Arch: runtime.GOARCH, CertFile: h.cfg.CertFile, KeyFile: h.cfg.KeyFile,
		Log: h.cfg.Defaults.Log, MID: master, Name: h.cfg.Name, OS: runtime.GOOS, TLS: h.cfg.TLS,
		Uptime: uint64(time.Since(h.begun) / time.Second), Ver: version,
		CPU: m.cpu, MemTotal: m.memory, MemUsed: m.memoryUsed, SwapTotal: m.swap, SwapUsed: m.swapUsed,
		NetRX: m.received, NetTX: m.sent, DiskR: m.read, DiskW: m.written, SysUp: m.up,
	}
}

// rename gives the master another alias, for as long as this gateway runs.
func (h *Handler) rename(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := h.mayWrite(r); err != nil {
		return err
	}
	master, err := h.look(r.Context())
	if err != nil {
		return err
	}
	var body struct{ Alias string }
	ok, err := h.read(w, r, &body)
	if err != nil {
		return err
	}
	if !ok {
		return &refusal{http.StatusBadRequest, "Invalid request body"}
	}
	if utf8.RuneCountInString(body.Alias) > maxAlias {
		return &refusal{http.StatusBadRequest, "alias must have at most 256 characters"}
	}
	h.mu.Lock()
	h.alias = body.Alias
	h.mu.Unlock()
	answer(w, http.StatusOK, h.about(master))
	return nil
}

// mayWrite asks whether the caller may write instances, which whoever does
// something here that reaches beyond reading must.
func (h *Handler) mayWrite(r *http.Request) error {
	_, err := h.instances.PutInstance(r.Context(), &signalboxv1.PutInstanceRequest{
		Instance:     &signalboxv1.Instance{Url: "client://127.0.0.1:1/127.0.0.1:2"},
		ValidateOnly: true,
	})
	return err
}

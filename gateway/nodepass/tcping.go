package nodepass

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Bounds of a tcping: how long it takes at most, and how many run at a time.
const (
	pingTimeout = 5 * time.Second
	maxPings    = 10
)

// reached is what GET /tcping answers. Latency is in milliseconds.
type reached struct {
	Target    string  `json:"target"`
	Connected bool    `json:"connected"`
	Latency   int64   `json:"latency"`
	Error     *string `json:"error"`
}

// tcping connects to an address from the gateway's machine, and says how long
// that took. Only who may make tunnels to anywhere may do it.
func (h *Handler) tcping(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := h.mayWrite(r); err != nil {
		return err
	}
	target := r.URL.Query().Get("target")
	if target == "" {
		return &refusal{http.StatusBadRequest, "Target address required"}
	}
	out := reached{Target: target}
	took, err := h.reach(r.Context(), target)
	if err == nil {
		out.Connected, out.Latency = true, took.Milliseconds()
	} else {
		why := err.Error()
		out.Error = &why
	}
	answer(w, http.StatusOK, out)
	return nil
}

// reach connects to an address.
func (h *Handler) reach(ctx context.Context, target string) (time.Duration, error) {
	select {
	case h.pings <- struct{}{}:
		defer func() { <-h.pings }()
	default:
		return 0, errors.New("too many at a time; try again")
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	begun := time.Now()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		return 0, err
	}
	return time.Since(begun), conn.Close()
}

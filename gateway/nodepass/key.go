package nodepass

import (
	"net/http"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// getKey answers the instance that stands for the caller's key. It is the one
// the caller has sent: nobody is shown another's.
func (h *Handler) getKey(w http.ResponseWriter, r *http.Request, _ string) error {
	master, err := h.look(r.Context())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, keyObject(secret(r.Header), master))
	return nil
}

// patchKey gives the caller's key a new secret where "restart" is asked for,
// and otherwise does nothing.
func (h *Handler) patchKey(w http.ResponseWriter, r *http.Request, _ string) error {
	master, err := h.look(r.Context())
	if err != nil {
		return err
	}
	var c changes
	ok, err := h.read(w, r, &c)
	if err != nil {
		return err
	}
	key := secret(r.Header)
	if ok && c.Action == "restart" {
		res, err := h.keys.RotateApiKey(r.Context(), &signalboxv1.RotateApiKeyRequest{})
		if err != nil {
			return err
		}
		key = res.GetSecret()
	}
	answer(w, http.StatusOK, keyObject(key, master))
	return nil
}

// keepKey refuses to replace or remove the key.
func (h *Handler) keepKey(_ http.ResponseWriter, r *http.Request, _ string) error {
	if _, err := h.look(r.Context()); err != nil {
		return err
	}
	return &refusal{http.StatusForbidden, "Forbidden: API Key"}
}

package nodepass

import (
	"embed"
	"net/http"
	"strings"
)

//go:embed page
var page embed.FS

// description is the API's, but for the base it is below.
//
//go:embed openapi.json
var description string

// describe answers the description, for the base that it was asked for below.
func (h *Handler) describe(w http.ResponseWriter, base string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(strings.Replace(description, "/api/v1", base, 1))) // the client has gone, or reads it
}

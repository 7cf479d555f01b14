package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"signalbox/bench/program"
)

// answers waits until a URL is answered with the origin's answer.
func answers(ctx context.Context, p *program.Program, url string) error {
	return p.Serves(ctx, func(ctx context.Context) error { return fetch(ctx, url) })
}

// fetch asks for a URL once.
func fetch(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || n != bodySize) {
		err = fmt.Errorf("GET %s: %s with %d bytes", url, res.Status, n)
	}
	return err
}

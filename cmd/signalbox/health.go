package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"signalbox/node/certfile"
)

func newHealth() *cobra.Command {
	var (
		secure certfile.Client
		within time.Duration
	)
	cmd := &cobra.Command{
		Use:   "health [URL]",
		Short: "Ask a part whether it is well: for health checks in containers",
		Long: `Asks a part of Signalbox, or an etcd member, whether it is well, and exits with
0 if it is, or else says why not and exits with 1. http and https URLs are asked
for their path, /readyz if they have none; grpc://HOST:PORT and grpcs://HOST:PORT
for the health service of gRPC.

Without a URL, SIGNALBOX_HEALTH_URL is asked, or else the process that this
container runs, where its command line says. If that names no address that can
be asked without certificates, the process is well as long as it runs.`,
		Example: `  signalbox health http://127.0.0.1:8001
  signalbox health https://localhost:2379 --ca etcd-ca.pem --cert etcd-client.pem --cert-key etcd-client.key
  signalbox health grpcs://localhost:8002 --ca ca.pem`,
		Args: atMostOne("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTimeout("timeout", within); err != nil {
				return err
			}
			raw := os.Getenv("SIGNALBOX_HEALTH_URL")
			if len(args) > 0 {
				raw = args[0]
			}
			if raw == "" {
				line, err := os.ReadFile(firstProcess)
				if err != nil {
					return &usageError{fmt.Errorf("give a URL; the process of this container cannot be found: %w", err)}
				}
				if raw = ownURL(strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")); raw == "" {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "it runs; give a URL or SIGNALBOX_HEALTH_URL to know more")
					return err
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), within)
			defer cancel()
			said, err := askHealth(ctx, raw, secure)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&secure.CA, "ca", "", "certificate authorities (PEM) that the part must have a certificate of; the system's if not given")
	f.StringVar(&secure.Cert, "cert", "", "client certificate file (PEM) to show")
	f.StringVar(&secure.Key, "cert-key", "", "private key file (PEM) of the client certificate")
	f.StringVar(&secure.ServerName, "server-name", "", "name that must be in the part's certificate, instead of the URL's host")
	f.DurationVar(&within, "timeout", 2*time.Second, "how long the answer may take")
	return cmd
}

// askHealth returns what a part that is well says, or why it is not.
func askHealth(ctx context.Context, raw string, files certfile.Client) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "", &usageError{fmt.Errorf("URL %q must be as http://127.0.0.1:8001 or grpc://127.0.0.1:8002", raw)}
	}
	var secure *tls.Config
	switch u.Scheme {
	case "https", "grpcs":
		files.Enabled = true
		if secure, err = files.Config(); err != nil {
			return "", &usageError{fmt.Errorf("--ca, --cert, --cert-key: %w", err)}
		}
	case "http", "grpc":
	default:
		return "", &usageError{fmt.Errorf("URL %q must begin with http, https, grpc or grpcs", raw)}
	}
	if strings.HasPrefix(u.Scheme, "grpc") {
		return askGRPC(ctx, u.Host, secure)
	}
	if u.Path == "" {
		u.Path = "/readyz"
	}
	return askHTTP(ctx, u.String(), secure)
}

// askGRPC asks the health service about the whole server.
func askGRPC(ctx context.Context, addr string, secure *tls.Config) (string, error) {
	conn, err := dial([]string{addr}, secure, everyReplica, grpc.WithConnectParams(patient))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	answer, err := healthv1.NewHealthClient(conn).Check(ctx, new(healthv1.HealthCheckRequest))
	switch {
	case err != nil:
		return "", errors.New(status.Convert(err).Message()) // unwell, whatever the code: 1
	case answer.GetStatus() != healthv1.HealthCheckResponse_SERVING:
		return "", fmt.Errorf("it says %s", answer.GetStatus())
	}
	return "SERVING", nil
}

// askHTTP asks for a page that is there when the part is well.
func askHTTP(ctx context.Context, page string, secure *tls.Config) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", &usageError{err}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	said := res.Status + ": " + strings.TrimSpace(string(body))
	if res.StatusCode/100 != 2 {
		return "", errors.New(said)
	}
	return said, nil
}

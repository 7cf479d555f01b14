package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"signalbox/node/certfile"
	"signalbox/store/etcd/embedded"
)

func newEtcd() *cobra.Command {
	var (
		c         embedded.Config
		m         metricsFlags
		l         logFlags
		plaintext bool
		open      bool
		start     time.Duration
	)
	cmd := &cobra.Command{
		Use:   "etcd",
		Short: "Run an etcd member, or look after those that run",
		Long: `Runs a member of an etcd cluster from the server that is built in. It is etcd:
etcdctl works with it, and it can be replaced by members from elsewhere.

Its commands look after an etcd that runs, this one or any other.`,
		Example: `  signalbox etcd --name a --data-dir /var/lib/signalbox-etcd \
    --listen-client http://127.0.0.1:2379 --listen-peer http://10.0.0.1:2380 --allow-plaintext \
    --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := l.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			c.Logger = log
			clients := urlGuard{"listen-client", "client-tls-client-ca", c.ClientTLS.CAFile != "", plaintext, open}
			peers := urlGuard{"listen-peer", "peer-tls-ca", c.PeerTLS.CAFile != "", plaintext, open}
			if err := errors.Join(clients.check(c.ListenClientURLs), peers.check(c.ListenPeerURLs)); err != nil {
				return err
			}
			if err := errors.Join(checkEtcdTLS("client", c.ClientTLS), checkEtcdTLS("peer", c.PeerTLS)); err != nil {
				return err
			}
			shown, err := m.listen("etcd", plaintext, log)
			if err != nil {
				return err
			}
			shown.addEtcd()
			return shown.with(cmd.Context(), func(ctx context.Context) error {
				return runEtcd(ctx, c, start, log)
			})
		},
	}
	host, _ := os.Hostname()
	f := cmd.Flags()
	f.StringVar(&c.Name, "name", host, "name of the member")
	f.StringVar(&c.DataDir, "data-dir", "", "directory for its data")
	f.StringSliceVar(&c.ListenClientURLs, "listen-client", []string{"http://127.0.0.1:2379"}, "URL to serve clients at; may be repeated")
	f.StringSliceVar(&c.AdvertiseClientURLs, "advertise-client", nil, "URL clients are told to use; --listen-client if not given")
	f.StringSliceVar(&c.ListenPeerURLs, "listen-peer", nil, "URL to serve other members at; may be repeated")
	f.StringSliceVar(&c.AdvertisePeerURLs, "advertise-peer", nil, "URL other members are told to use; --listen-peer if not given")
	f.StringVar(&c.InitialCluster, "initial-cluster", "", "all members, NAME=PEER-URL separated by commas; this one alone if not given")
	f.StringVar(&c.InitialClusterState, "initial-cluster-state", "new", "new, or existing for a member that was added")
	f.BoolVar(&c.ForceNewCluster, "force-new-cluster", false, "make this member, with what it has, the only one; for one start, when most of the others are lost for good")
	f.StringVar(&c.Token, "cluster-token", "signalbox", "keeps clusters apart that are made from the same URLs")
	f.StringVar(&c.ClientTLS.CertFile, "client-tls-cert", "", "certificate file (PEM) for clients with https")
	f.StringVar(&c.ClientTLS.KeyFile, "client-tls-key", "", "its private key")
	f.StringVar(&c.ClientTLS.CAFile, "client-tls-client-ca", "", "certificate authorities (PEM) that clients must have a certificate of")
	f.StringVar(&c.PeerTLS.CertFile, "peer-tls-cert", "", "certificate file (PEM) between members with https")
	f.StringVar(&c.PeerTLS.KeyFile, "peer-tls-key", "", "its private key")
	f.StringVar(&c.PeerTLS.CAFile, "peer-tls-ca", "", "certificate authorities (PEM) that members must have a certificate of")
	f.DurationVar(&c.Retention, "retention", 10*time.Minute, "how long history is kept for those who lag")
	f.Int64Var(&c.QuotaBytes, "quota-bytes", 2<<30, "largest size of the database")
	f.DurationVar(&start, "start-timeout", 5*time.Minute, "how long to wait for the other members")
	f.BoolVar(&plaintext, "allow-plaintext", false, "allow URLs other than loopback without TLS: anyone there can read and write everything")
	f.BoolVar(&open, "allow-any-client", false, "allow https URLs other than loopback without authorities for certificates: anyone there can read and write everything, unless etcd's own users are set up")
	m.add(f)
	l.add(f)
	cmd.AddCommand(upkeepCommands()...)
	return cmd
}

// checkEtcdTLS says what is wrong with certificates, before etcd is started.
func checkEtcdTLS(whose string, t embedded.TLS) error {
	if _, err := (certfile.Server{Cert: t.CertFile, Key: t.KeyFile, ClientCA: t.CAFile}).Config(nil); err != nil {
		return &usageError{fmt.Errorf("the flags --%s-tls-…: %w", whose, err)}
	}
	return nil
}

// runEtcd runs a member until ctx ends; it has so long to find the others.
func runEtcd(ctx context.Context, c embedded.Config, patience time.Duration, log *slog.Logger) error {
	starting, cancel := context.WithTimeout(ctx, patience)
	member, err := embedded.Start(starting, c)
	cancel()
	if err != nil {
		return err
	}
	defer member.Close()
	log.Info("etcd member ready", "addr", fmt.Sprint(c.ListenClientURLs))
	defer notifyReady(ctx, log)()
	select {
	case err := <-member.Failed():
		return err
	case <-ctx.Done():
		return nil
	}
}

// A urlGuard keeps strangers from an etcd, which knows no API keys: on a
// network it is served with TLS, to those who have a certificate.
type urlGuard struct {
	flag, authorities string // names of flags
	certificates      bool   // the authorities are given
	plaintext, open   bool   // what the operator allows
}

func (g urlGuard) check(urls []string) error {
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil || u.Port() == "" {
			return &usageError{fmt.Errorf("--%s %q must be a URL with a port, as http://127.0.0.1:2379", g.flag, raw)}
		}
		local, err := loopback(g.flag, u.Host)
		if err != nil {
			return err
		}
		switch {
		case local:
		case u.Scheme != "https" && !g.plaintext:
			return &usageError{fmt.Errorf("--%s %s is not a loopback address, and anyone there could read and write everything: use https with --%s, or --allow-plaintext", g.flag, raw, g.authorities)}
		case u.Scheme == "https" && !g.certificates && !g.open:
			return &usageError{fmt.Errorf("--%s %s is not a loopback address, and anyone there could read and write everything: give --%s, or --allow-any-client", g.flag, raw, g.authorities)}
		}
	}
	return nil
}

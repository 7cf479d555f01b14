package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// nowhere is the peer URL of a member that has no peers. Nobody listens there.
const nowhere = "http://127.0.0.1:2380"

// addresses translates the part of the configuration that says who is reached
// where, and how securely.
func (c Config) addresses(s *embed.Config) error {
	if !c.alone() && len(c.ListenPeerURLs) == 0 {
		return errors.New("a member of a cluster needs peer URLs to listen at")
	}
	peers, clients := c.AdvertisePeerURLs, c.AdvertiseClientURLs
	if len(peers) == 0 {
		peers = c.ListenPeerURLs
	}
	if len(peers) == 0 {
		peers = []string{nowhere}
	}
	if len(clients) == 0 {
		clients = c.ListenClientURLs
	}
	s.InitialCluster = cmp.Or(c.InitialCluster, s.Name+"="+peers[0])
	for _, set := range []struct {
		what string
		from []string
		to   *[]url.URL
	}{
		{"listening for clients", c.ListenClientURLs, &s.ListenClientUrls},
		{"advertised to clients", clients, &s.AdvertiseClientUrls},
		{"listening for peers", c.ListenPeerURLs, &s.ListenPeerUrls},
		{"advertised to peers", peers, &s.AdvertisePeerUrls},
	} {
		*set.to = nil // instead of etcd's defaults
		for _, text := range set.from {
			u, err := parse(text)
			if err != nil {
				return fmt.Errorf("URL for %s: %w", set.what, err)
			}
			*set.to = append(*set.to, *u)
		}
	}
	s.ClientTLSInfo, s.PeerTLSInfo = c.ClientTLS.info(), c.PeerTLS.info()
	return nil
}

// parse takes URLs that etcd can use.
func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Port() == "" || u.Path != "" {
		return nil, fmt.Errorf("%q is not like http://10.0.0.1:2380", text)
	}
	return u, nil
}

func (t TLS) info() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile:       t.CertFile,
		KeyFile:        t.KeyFile,
		TrustedCAFile:  t.CAFile,
		ClientCertAuth: t.CAFile != "",
	}
}

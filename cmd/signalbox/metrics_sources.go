package main

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"signalbox/node/certfile"
)

// certificates tells how long the certificates last that a process shows. Its zero
// value knows none.
type certificates struct {
	mu    sync.Mutex
	known []func() map[string]*x509.Certificate
}

var (
	certificateEnds = prometheus.NewDesc("signalbox_certificate_expiry_timestamp_seconds",
		"When a certificate ends that this process shows, in seconds since 1970: grpc, api, metrics, identity (a node's), controlplane (shown to one), etcd (shown to it), listener/NAME.",
		[]string{"use"}, nil)
	certificateStarts = prometheus.NewDesc("signalbox_certificate_start_timestamp_seconds",
		"When a certificate begins that this process shows, in seconds since 1970: what is left of it can be compared with its whole life.",
		[]string{"use"}, nil)
)

// Describe implements prometheus.Collector.
func (*certificates) Describe(out chan<- *prometheus.Desc) {
	out <- certificateEnds
	out <- certificateStarts
}

// Collect implements prometheus.Collector.
func (c *certificates) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	known := slices.Clone(c.known)
	c.mu.Unlock()
	for _, some := range known {
		for use, c := range some() {
			out <- prometheus.MustNewConstMetric(certificateEnds, prometheus.GaugeValue, float64(c.NotAfter.Unix()), use)
			out <- prometheus.MustNewConstMetric(certificateStarts, prometheus.GaugeValue, float64(c.NotBefore.Unix()), use)
		}
	}
}

// certificate has a configuration's certificate told of; nil has none.
func (s *metrics) certificate(use string, conf *tls.Config) {
	s.certificates(func() map[string]*x509.Certificate {
		c := certfile.Shown(conf)
		if c == nil {
			return nil
		}
		return map[string]*x509.Certificate{use: c}
	})
}

// certificates has several told of, by their uses.
func (s *metrics) certificates(some func() map[string]*x509.Certificate) {
	s.certs.mu.Lock()
	defer s.certs.mu.Unlock()
	s.certs.known = append(s.certs.known, some)
}

// etcdFamilies are those metrics in the library's own registry that are
// etcd's: of the process the registry of ours tells already.
func etcdFamilies() ([]*dto.MetricFamily, error) {
	families, err := prometheus.DefaultGatherer.Gather()
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool {
		for _, ours := range []string{"go_", "process_", "promhttp_"} {
			if strings.HasPrefix(f.GetName(), ours) {
				return true
			}
		}
		return false
	}), err
}

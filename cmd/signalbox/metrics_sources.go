package main

import (
	"crypto/tls"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"signalbox/node/certfile"
)

// certificates tells when the certificates end that a process shows. Its zero
// value knows none.
type certificates struct {
	mu    sync.Mutex
	known []func() map[string]time.Time
}

var certificateEnds = prometheus.NewDesc("signalbox_certificate_expiry_timestamp_seconds",
	"When a certificate ends that this process shows, in seconds since 1970: grpc, api, metrics, identity (a node's), controlplane (shown to one), etcd (shown to it), listener/NAME.",
	[]string{"use"}, nil)

// Describe implements prometheus.Collector.
func (*certificates) Describe(out chan<- *prometheus.Desc) { out <- certificateEnds }

// Collect implements prometheus.Collector.
func (c *certificates) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	known := slices.Clone(c.known)
	c.mu.Unlock()
	for _, some := range known {
		for use, end := range some() {
			out <- prometheus.MustNewConstMetric(certificateEnds, prometheus.GaugeValue, float64(end.Unix()), use)
		}
	}
}

// certificate has the end of a configuration's certificate told; nil has none.
func (s *metrics) certificate(use string, conf *tls.Config) {
	s.certificates(func() map[string]time.Time {
		end, ok := certfile.Ends(conf)
		if !ok {
			return nil
		}
		return map[string]time.Time{use: end}
	})
}

// certificates has the ends of several told, by their uses.
func (s *metrics) certificates(some func() map[string]time.Time) {
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

package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"signalbox/controlplane"
	"signalbox/gateway"
	"signalbox/node"
	"signalbox/store/mem"
)

// docs and monitoring are where metrics are named.
const (
	docs       = "../../docs/metrics.md"
	monitoring = "../../deploy/monitoring/"
)

// A saying tells when something was said, and what.
type saying struct {
	text strings.Builder
	said chan string
}

func (s *saying) Write(p []byte) (int, error) {
	n, _ := s.text.Write(p)
	if text := s.text.String(); strings.Contains(text, "Ctrl-C") && s.said != nil {
		s.said <- text
		s.said = nil
	}
	return n, nil
}

// gatherAll runs everything in one process, uses it a little, and returns what
// it tells of itself, by name.
func gatherAll(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	u := upFlags{data: t.TempDir(), demo: "off"}
	f := pflag.NewFlagSet("up", pflag.ContinueOnError)
	u.plane.add(f)
	u.node.add(f, "127.0.0.1:0", time.Second)
	if err := f.Parse([]string{"--api-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--admin-key", "the-admin's", "--access-log", "-1"}); err != nil {
		t.Fatal(err)
	}
	shown := newMetrics("up", log)
	shown.certificates(func() map[string]*x509.Certificate { return map[string]*x509.Certificate{"grpc": {}} })
	out := &saying{said: make(chan string, 1)}
	ready := out.said
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- u.run(ctx, shown, out, log) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var said string
	select {
	case said = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	at := func(what string) string {
		return regexp.MustCompile(what + ` +(\S+)`).FindStringSubmatch(said)[1]
	}
	body := fmt.Sprintf(`{"route": {"name": "health", "match": {"pathPrefix": "/healthz"}, "upstreams": [{"url": "%s"}]}, "wait": "nodes"}`, at("HTTP APIs"))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at("HTTP APIs")+"/v1/routes", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer the-admin's")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the route was answered with %d %s", res.StatusCode, answer)
	}
	for path, status := range map[string]int{"/healthz": 200, "/nothing": 404} {
		if res, _ := ask(t, "GET", at("public traffic")+path, "", ""); res.StatusCode != status {
			t.Errorf("%s was answered with %d", path, res.StatusCode)
		}
	}
	families, err := shown.gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// A described metric is what a part says that it tells.
type described struct {
	labels []string
	help   string
}

var (
	descName  = regexp.MustCompile(`fqName: "([^"]+)", help: ("(?:[^"\\]|\\.)*"), (?:unit: "[^"]*", )?constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)
	labelName = regexp.MustCompile(`([a-z_]+)(?:="[^"]*")?`)
)

// describeAll returns all that the parts may ever tell of ours, by name.
func describeAll(t *testing.T) map[string]described {
	t.Helper()
	n, err := node.New(node.Config{ControlPlanes: []string{"127.0.0.1:1"}, Key: "x"})
	if err != nil {
		t.Fatal(err)
	}
	keeper := mem.New()
	_, conn, err := inProcess()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	g, err := gateway.New(conn, gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	shown := newMetrics("up", slog.New(slog.DiscardHandler))
	cp := controlplane.New(controlplane.Config{ID: "x", Records: keeper, Notes: keeper, Log: slog.New(slog.DiscardHandler)})
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		for _, c := range []prometheus.Collector{n, cp, g, shown.registry} {
			c.Describe(descs)
		}
	}()
	all := map[string]described{}
	for d := range descs {
		m := descName.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("cannot read %s", d)
		}
		if !strings.HasPrefix(m[1], "signalbox_") {
			continue
		}
		var help string
		if err := json.Unmarshal([]byte(m[2]), &help); err != nil {
			t.Fatal(err)
		}
		var labels []string
		for _, l := range labelName.FindAllStringSubmatch(m[3]+","+m[4], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		all[m[1]] = described{labels, help}
	}
	return all
}

// What is told is what docs/metrics.md says, word for word, it is named as
// Prometheus wants names, and what watches it names nothing else.
func TestMetricsAreThoseDocumented(t *testing.T) {
	told, known := gatherAll(t), describeAll(t)

	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(known)) {
		d, f := known[name], told[name]
		if f == nil {
			t.Errorf("%s was not told by anyone", name)
			continue
		}
		labels := ""
		if len(d.labels) > 0 {
			labels = "`" + strings.Join(d.labels, "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), labels, d.help)
	}
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	var documented strings.Builder
	for row := range strings.Lines(string(text)) {
		if strings.HasPrefix(row, "| `signalbox_") {
			documented.WriteString(row)
		}
	}
	if table.String() != documented.String() {
		t.Errorf("the tables in docs/metrics.md are not what the parts tell; these are:\n%s", table.String())
	}

	var ours []*dto.MetricFamily
	for name, f := range told {
		if !strings.HasPrefix(name, "signalbox_") {
			continue
		}
		if _, ok := known[name]; !ok {
			t.Errorf("%s is told, and no part says so", name)
		}
		ours = append(ours, f)
	}
	problems, err := promlint.NewWithMetricFamilies(ours).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}

	watched(t, told)
}

// metricName is what in a rule or a panel is the name of a metric.
var metricName = regexp.MustCompile(`\b(?:signalbox|etcd|go|process)_[a-z0-9_]+`)

// watched checks that rules and panels name only what is told.
func watched(t *testing.T, told map[string]*dto.MetricFamily) {
	t.Helper()
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "dashboard.json"} {
		text, err := os.ReadFile(monitoring + file)
		if err != nil {
			t.Error(err)
			continue
		}
		names := metricName.FindAllString(string(text), -1)
		for _, name := range names {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if cut, ok := strings.CutSuffix(name, suffix); ok && told[cut].GetType() == dto.MetricType_HISTOGRAM {
					base = cut
				}
			}
			if told[base] == nil {
				t.Errorf("%s names %s, which nobody tells", file, name)
			}
		}
		if len(names) < 10 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
	}
}

// Every alert has a test, which promtool runs, and says what to do.
func TestEveryAlertHasATest(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string            `json:"alert"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	}
	text, err := os.ReadFile(monitoring + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(monitoring + "alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if !strings.Contains(string(tests), fmt.Sprintf("{alertname=%q}", r.Alert)) {
				t.Errorf("%s has no test", r.Alert)
			}
			for _, said := range []string{r.Labels["severity"], r.Annotations["summary"], r.Annotations["meaning"], r.Annotations["first"]} {
				if said == "" {
					t.Errorf("%s does not say its severity, what is so, what it means, or what to do first", r.Alert)
				}
			}
		}
	}
}

// Every panel says what it shows, and in which unit, of a data source that is
// chosen where the dashboard is.
func TestEveryPanelIsExplained(t *testing.T) {
	text, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		SchemaVersion int `json:"schemaVersion"`
		Panels        []struct {
			Type, Title, Description string
			Datasource               struct{ UID string }
			FieldConfig              struct{ Defaults struct{ Unit string } }
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.SchemaVersion < 39 || len(dashboard.Panels) < 20 {
		t.Errorf("schema %d, %d panels", dashboard.SchemaVersion, len(dashboard.Panels))
	}
	for _, p := range dashboard.Panels {
		if p.Type != "row" && (p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}") {
			t.Errorf("%s has no description, unit or data source", p.Title)
		}
	}
}

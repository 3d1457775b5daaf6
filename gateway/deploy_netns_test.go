//go:build netns

package gateway_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

var (
	metricName = regexp.MustCompile(`\bgateway_[a-z_]+`)
	labelNames = regexp.MustCompile(`(?:by \(([a-z, ]+)\)|[{,]([a-z]+)=)`)
)

// dashboard returns what the dashboard asks a Prometheus, wherever it stands.
func dashboard(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana-dashboard.json")
	check(t, err)
	var whole any
	check(t, json.Unmarshal(text, &whole))
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if q, ok := v["expr"].(string); ok {
				queries = append(queries, q)
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(whole)
	if len(queries) < 20 {
		t.Errorf("the dashboard asks %d questions", len(queries))
	}
	return queries
}

// alerts returns what the rules ask.
func alerts(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("../deploy/alerts.yaml")
	check(t, err)
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary, Description string }
			}
		}
	}
	check(t, yaml.Unmarshal(text, &rules))
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Annotations.Summary == "" || r.Annotations.Description == "" {
				t.Errorf("%s does not say what is wrong and what to do", r.Alert)
			}
			queries = append(queries, r.Expr)
		}
	}
	if len(queries) < 10 {
		t.Errorf("%d rules", len(queries))
	}
	return queries
}

// What the dashboard and the rules ask is what a gateway answers.
func TestTheDashboardAndTheRulesAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	names, labels := map[string]bool{}, map[string]bool{"instance": true, "job": true} // Prometheus's own
	var l *lab
	for _, make := range []makeLab{newBridge4, newLab} {
		l = make(t)
		d := l.start()
		d.admit(anHour)
		l.client.run("ping", "-c", "1", "-W", "2", serverIP)
		for key := range l.scraped() {
			name, rest, _ := strings.Cut(key, "{")
			names[name] = true
			for pair := range strings.SplitSeq(rest, ",") {
				label, _, _ := strings.Cut(pair, "=")
				labels[label] = true
			}
		}
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	queries := dashboard(t)
	for i, q := range queries {
		q = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(q)
		text, err := json.Marshal(q) // which YAML reads
		check(t, err)
		fmt.Fprintf(&rules, "  - {record: asked:%d, expr: %s}\n", i, text)
	}
	for _, q := range append(queries, alerts(t)...) {
		found := metricName.FindAllString(q, -1)
		if len(found) == 0 {
			t.Errorf("no metric in %s", q)
		}
		for _, name := range found {
			if !names[name] {
				t.Errorf("there is no %s, which is asked for in %s", name, q)
			}
		}
		for _, m := range labelNames.FindAllStringSubmatch(q, -1) {
			for label := range strings.SplitSeq(m[1]+m[2], ", ") {
				if !labels[label] {
					t.Errorf("there is no label %s, which is asked for in %s", label, q)
				}
			}
		}
	}
	file := filepath.Join(l.dir, "dashboard.yaml")
	check(t, os.WriteFile(file, []byte(rules.String()), 0o600))
	l.gateway.run("promtool", "check", "rules", "--lint=none", file)
	l.gateway.run("promtool", "check", "rules", "--lint-fatal", "../deploy/alerts.yaml")
}

func TestTheRulesFireWhenTheyShould(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"../deploy/alerts.yaml": "alerts.yaml", "testdata/alerts_test.yaml": "alerts_test.yaml"} {
		text, err := os.ReadFile(from)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, to), text, 0o600))
	}
	newNamespace(t).run("promtool", "test", "rules", filepath.Join(dir, "alerts_test.yaml"))
}

package checks

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/mongostore/metrics"
	"github.com/annals-es/annals/projection/projectionprom"
)

const monitoring = "../monitoring/"

// A catalog registers nothing and notes the names and labels of what there is.
type catalog map[string]string

func (c catalog) Register(collector prometheus.Collector) error {
	ch := make(chan *prometheus.Desc)
	go func() {
		defer close(ch)
		collector.Describe(ch)
	}()
	for d := range ch {
		text := d.String() // Desc{fqName: "x", help: "…", …, variableLabels: {a,b}}
		_, rest, _ := strings.Cut(text, `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		_, names, _ := strings.Cut(text, "variableLabels: {")
		names, _, _ = strings.Cut(names, "}")
		c[name] = names
	}
	return nil
}

func (c catalog) MustRegister(...prometheus.Collector) {}
func (c catalog) Unregister(prometheus.Collector) bool { return false }

// has reports whether a series, as queries name it, is one of a metric.
func (c catalog) has(series, label string) bool {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		if names, ok := c[strings.TrimSuffix(series, suffix)]; ok {
			switch label {
			case "", model.MetricNameLabel, "job", "instance", "le":
				return true
			}
			return strings.Contains(","+names+",", ","+label+",")
		}
	}
	return false
}

func metricsThereAre(t *testing.T) catalog {
	t.Helper()
	c := catalog{}
	_, err := metrics.New(c, metrics.Config{})
	require.NoError(t, err)
	require.NoError(t, c.Register(projectionprom.New(nil, projectionprom.Config{})))
	require.Greater(t, len(c), 20)
	return c
}

// checkQuery parses a query and looks up every metric and label that it selects by.
func checkQuery(t *testing.T, known catalog, query string) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	require.NoError(t, err, query)
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			for _, m := range v.LabelMatchers {
				require.True(t, known.has(v.Name, m.Name), "%s{%s} is not measured, in %s", v.Name, m.Name, query)
			}
		}
		return nil
	})
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	known := metricsThereAre(t)
	text, err := os.ReadFile(monitoring + "alerts.yaml")
	require.NoError(t, err)
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
	runbook, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	alerts := map[string]bool{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			require.False(t, alerts[r.Alert], "%s is there twice", r.Alert)
			alerts[r.Alert] = true
			checkQuery(t, known, r.Expr)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.NotEmpty(t, labels.FromMap(r.Labels).Get("severity"), r.Alert)
			_, anchor, ok := strings.Cut(r.Annotations["runbook"], "docs/operations.md#")
			require.True(t, ok, r.Alert)
			require.Contains(t, anchors(string(runbook)), anchor, "of %s", r.Alert)
			require.Contains(t, string(runbook), r.Alert, "the runbook names its alerts")
		}
	}
}

// anchors are the fragments that headings of Markdown can be linked by.
func anchors(text string) (found []string) {
	for line := range strings.Lines(text) {
		if title := strings.TrimLeft(line, "#"); title != line {
			found = append(found, strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-"))
		}
	}
	return found
}

// TestDocumentation finds each metric in the table of the documentation.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	for name, labels := range metricsThereAre(t) {
		require.Contains(t, string(text), "`"+name+"`", name)
		_ = labels
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	known := metricsThereAre(t)
	text, err := os.ReadFile(monitoring + "dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		UID    string
		Title  string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	ids, queries := map[int]bool{}, 0
	for _, p := range dashboard.Panels {
		require.False(t, ids[p.ID], "two panels have id %d", p.ID)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for _, target := range p.Targets {
			queries++
			query := strings.NewReplacer("$__rate_interval", "5m", "$job", "orders").Replace(target.Expr)
			checkQuery(t, known, query)
		}
	}
	require.Greater(t, queries, 20)
}

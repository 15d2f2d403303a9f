package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/customersession/customersession/deploy/rig/needs"
)

const (
	monitoringRules     = "monitoring/rules.yaml"
	monitoringDashboard = "monitoring/dashboard.json"
	prometheusHint      = "install prometheus, 2.42 or newer"
	// monitoringRunbooks is where links of alerts go: a page of this folder, as
	// the repository shows it.
	monitoringRunbooks = "https://github.com/customersession/customersession/blob/main/deploy/"
)

// A monitoringRule is an alert or a recording rule.
type monitoringRule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

type monitoringGroup struct {
	Name     string           `yaml:"name"`
	Interval string           `yaml:"interval,omitempty"`
	Rules    []monitoringRule `yaml:"rules"`
}

// monitoringFile is a file of rules.
type monitoringFile struct {
	Groups []monitoringGroup `yaml:"groups"`
}

func (f monitoringFile) rules() []monitoringRule {
	var all []monitoringRule
	for _, group := range f.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

func (f monitoringFile) alerts() []monitoringRule {
	return slices.DeleteFunc(f.rules(), func(r monitoringRule) bool { return r.Alert == "" })
}

func readRules(t *testing.T) monitoringFile {
	t.Helper()
	var file monitoringFile
	if err := yaml.Unmarshal(readMonitoring(t, monitoringRules), &file); err != nil {
		t.Fatal(err)
	}
	if n := len(file.alerts()); n < 15 {
		t.Fatalf("%s has %d alerts", monitoringRules, n)
	}
	return file
}

func readMonitoring(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// promtool runs Prometheus' own check, in the folder of the rules.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), needs.Program(t, "promtool", prometheusHint), args...)
	command.Dir = filepath.Dir(monitoringRules)
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

func TestMonitoringRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
	for _, file := range []string{"rules_test.yaml", "rules_days_test.yaml"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			promtool(t, "test", "rules", file)
		})
	}
}

// Each alert fires in a test of promtool's, and does not in another one.
func TestMonitoringAlertsAreTested(t *testing.T) {
	t.Parallel()
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, name := range []string{"monitoring/rules_test.yaml", "monitoring/rules_days_test.yaml"} {
		var file struct {
			Tests []struct {
				Checks []struct {
					Expr    string `yaml:"expr"`
					Samples []any  `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			} `yaml:"tests"`
		}
		if err := yaml.Unmarshal(readMonitoring(t, name), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			for _, check := range test.Checks {
				alert := regexp.MustCompile(`^ALERTS\{alertname="(\w+)", alertstate="firing"\}$`).FindStringSubmatch(check.Expr)
				if alert != nil && len(check.Samples) > 0 {
					fires[alert[1]] = true
				} else if alert != nil {
					quiet[alert[1]] = true
				}
			}
		}
	}
	for _, rule := range readRules(t).alerts() {
		if !fires[rule.Alert] || !quiet[rule.Alert] {
			t.Errorf("%s: tested to fire: %t, not to fire: %t; want both", rule.Alert, fires[rule.Alert], quiet[rule.Alert])
		}
	}
}

// Whoever an alert wakes up is told what to do, and where to read on.
func TestMonitoringAlerts(t *testing.T) {
	t.Parallel()
	justified := map[string]bool{}
	for _, match := range regexp.MustCompile(`- alert: (\w+)\n +# \S`).FindAllSubmatch(readMonitoring(t, monitoringRules), -1) {
		justified[string(match[1])] = true
	}
	seen := map[string]bool{}
	for _, rule := range readRules(t).alerts() {
		if seen[rule.Alert] {
			t.Errorf("there are two alerts %s", rule.Alert)
		}
		seen[rule.Alert] = true
		if !justified[rule.Alert] {
			t.Errorf("%s: no comment below its name says why its threshold is what it is", rule.Alert)
		}
		if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: got severity %q, want critical or warning", rule.Alert, severity)
		}
		if rule.For == "" || rule.Annotations["summary"] == "" || len(rule.Annotations["description"]) < 80 {
			t.Errorf("%s: has no for, no summary, or no description of what to do", rule.Alert)
		}
		page, found := strings.CutPrefix(rule.Annotations["runbook_url"], monitoringRunbooks)
		if err := findAnchor(page); err != nil || !found || !strings.HasPrefix(page, "runbooks/") {
			t.Errorf("%s: runbook_url %q: %v", rule.Alert, rule.Annotations["runbook_url"], err)
		}
	}
}

// The pages name rules that exist, and explain each measure of 30 days.
func TestMonitoringPages(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, rule := range readRules(t).rules() {
		names[rule.Record+rule.Alert] = true
	}
	for _, page := range []string{"metrics.md", "monitoring/README.md", "monitoring/slo.md"} {
		text := string(readMonitoring(t, page))
		for _, name := range regexp.MustCompile(`customersession:[a-z_]+:\w+|Customersession[A-Z]\w+`).FindAllString(text, -1) {
			if !names[name] {
				t.Errorf("%s: there is no rule %s", page, name)
			}
		}
	}
	objectives := string(readMonitoring(t, "monitoring/slo.md"))
	for _, rule := range readRules(t).rules() {
		if strings.HasSuffix(rule.Record, ":ratio30d") && !strings.Contains(objectives, rule.Record) {
			t.Errorf("slo.md does not speak of %s", rule.Record)
		}
	}
}

// A dashboardPanel is a part of the dashboard.
type dashboardPanel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  struct {
		UID string `json:"uid"`
	} `json:"datasource"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []struct {
		Expr       string `json:"expr"`
		Datasource struct {
			UID string `json:"uid"`
		} `json:"datasource"`
	} `json:"targets"`
}

type monitoringBoard struct {
	Panels     []dashboardPanel `json:"panels"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
}

func readDashboard(t *testing.T) monitoringBoard {
	t.Helper()
	var board monitoringBoard
	if err := json.Unmarshal(readMonitoring(t, monitoringDashboard), &board); err != nil {
		t.Fatal(err)
	}
	if len(board.Panels) < 20 {
		t.Fatalf("the dashboard has %d panels", len(board.Panels))
	}
	return board
}

// expressions returns those of all panels, with what Grafana would put in for
// the variables.
func (b monitoringBoard) expressions() []string {
	var all []string
	fill := strings.NewReplacer("$__rate_interval", "5m", "$job", ".+", "$consumer", ".+")
	for _, panel := range b.Panels {
		for _, target := range panel.Targets {
			all = append(all, fill.Replace(target.Expr))
		}
	}
	return all
}

func TestMonitoringDashboard(t *testing.T) {
	t.Parallel()
	const source = "${datasource}"
	board := readDashboard(t)
	types := map[string]string{}
	for _, variable := range board.Templating.List {
		types["${"+variable.Name+"}"] = variable.Type
	}
	if types[source] != "datasource" {
		t.Errorf("the dashboard has no variable for its data source: %v", types)
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, panel := range board.Panels {
		if ids[panel.ID] || titles[panel.Title] || panel.ID == 0 || panel.Title == "" {
			t.Errorf("panel %d, %q: the number or the title is missing, or another one's", panel.ID, panel.Title)
		}
		ids[panel.ID], titles[panel.Title] = true, true
		if panel.Type == "row" {
			continue
		}
		if panel.Description == "" || panel.FieldConfig.Defaults.Unit == "" || panel.Datasource.UID != source || len(panel.Targets) == 0 {
			t.Errorf("panel %q lacks a description, a unit, a target or the variable data source", panel.Title)
		}
		for _, target := range panel.Targets {
			if target.Datasource.UID != source {
				t.Errorf("panel %q has a target with another data source", panel.Title)
			}
		}
	}
}

// Prometheus parses each expression of the dashboard.
func TestMonitoringDashboardParses(t *testing.T) {
	t.Parallel()
	var group monitoringGroup
	group.Name = "dashboard"
	for i, expr := range readDashboard(t).expressions() {
		if strings.Contains(expr, "$") {
			t.Errorf("%s: a variable is left", expr)
		}
		group.Rules = append(group.Rules, monitoringRule{Record: fmt.Sprintf("panel:expression:%d", i), Expr: expr})
	}
	text, err := yaml.Marshal(monitoringFile{Groups: []monitoringGroup{group}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", "--lint-fatal", file)
}

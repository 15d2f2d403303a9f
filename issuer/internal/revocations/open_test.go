//go:build unix

package revocations_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// TestOpen: a configuration opens the log that it names, or says what it lacks.
func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	config := revocations.Config{Engine: revocations.EngineFile, File: path}
	if err := revocations.Init(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	log, err := revocations.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	appendTo(t, log, session("a"))
	if log, err := revocations.Open(t.Context(), revocations.Config{Engine: revocations.EngineOff}); log != nil || err != nil {
		t.Errorf("off is %v, %v", log, err)
	}
	dsn := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(dsn, []byte("do-not-echo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, config := range []revocations.Config{
		{Engine: revocations.EnginePostgres, DSNFile: dsn},
		{Engine: revocations.EnginePostgres, DSNFile: dsn + ".missing"},
	} {
		if _, err := revocations.Open(t.Context(), config); err == nil || strings.Contains(err.Error(), "do-not-echo") {
			t.Errorf("error is %v", err)
		}
		if err := revocations.Init(t.Context(), config); err == nil || strings.Contains(err.Error(), "do-not-echo") {
			t.Errorf("error is %v", err)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config revocations.Config
		want   string
	}{
		{revocations.Config{Engine: "off"}, ""},
		{revocations.Config{Engine: "file", File: "x"}, ""},
		{revocations.Config{Engine: "postgres", DSNFile: "x"}, ""},
		{revocations.Config{}, "CUSTOMERSESSION_REVOCATIONS is not off, file or postgres"},
		{revocations.Config{Engine: "redis"}, "CUSTOMERSESSION_REVOCATIONS is not off, file or postgres"},
		{revocations.Config{Engine: "file"}, "CUSTOMERSESSION_REVOCATIONS_FILE is missing"},
		{revocations.Config{Engine: "postgres"}, "CUSTOMERSESSION_REVOCATIONS_DSN_FILE is missing"},
		{revocations.Config{Engine: "off", File: "x"}, "CUSTOMERSESSION_REVOCATIONS_FILE is set, but CUSTOMERSESSION_REVOCATIONS is not file"},
		{revocations.Config{Engine: "file", File: "x", DSNFile: "x"}, "CUSTOMERSESSION_REVOCATIONS_DSN_FILE is set, but CUSTOMERSESSION_REVOCATIONS is not postgres"},
	} {
		got := ""
		if err := test.config.Check(); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%+v: got %q, want %q", test.config, got, test.want)
		}
	}
}

// TestStatus: the status counts what is in force.
func TestStatus(t *testing.T) {
	t.Parallel()
	log := openFile(t, newFile(t))
	for _, entry := range []revocations.Entry{session("a"), dropped("b"), session("c"), {Scope: revocations.Organization, OrganizationID: acme}} {
		appendTo(t, log, entry)
	}
	status, err := revocations.ReadStatus(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	if status.Engine != "file" || status.Position.Seq != 4 || len(status.Entries) != 2 || status.Entries["session"] != 2 || status.Entries["organization"] != 1 ||
		status.ReadTime <= 0 || status.ClockAhead.Abs() > time.Second || status.Replication != "" {
		t.Errorf("the status is %+v", status)
	}
}

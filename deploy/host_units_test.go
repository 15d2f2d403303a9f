package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A hostUnit is a unit file of systemd: values by key. No key is in two of our
// sections.
type hostUnit map[string][]string

func (u hostUnit) value(key string) string { return strings.Join(u[key], " ") }

// parseHostUnit reads a unit file or a drop-in (systemd.syntax(7)).
func parseHostUnit(text string) (hostUnit, error) {
	u, section := hostUnit{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		key, value, isSetting := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case regexp.MustCompile(`^\[(Unit|Service|Socket|Timer|Install)\]$`).MatchString(line):
			section = line
		case section != "" && isSetting && regexp.MustCompile(`^[A-Z][A-Za-z]+$`).MatchString(key) && value == strings.TrimSpace(value):
			u[key] = append(u[key], value)
		default:
			return nil, fmt.Errorf("neither a section nor a setting in one: %q", line)
		}
	}
	return u, nil
}

func readHostUnit(t *testing.T, name string) hostUnit {
	t.Helper()
	u, err := parseHostUnit(readHostFile(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return u
}

func readHostFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("host", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseHostUnit(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		"# a\n\n[Service]\nUser=a\nCapabilityBoundingSet=\n": true,
		"User=a\n":                 false,
		"[Servce]\nUser=a\n":       false,
		"[Service]\nUser = a\n":    false,
		"[Service]\nUser\n":        false,
		"[Service]\nuser=a\n":      false,
		"[Service]\nA=b \\\n  c\n": false,
	} {
		if _, err := parseHostUnit(text); (err == nil) != good {
			t.Errorf("%q: got %v, want it read: %t", text, err, good)
		}
	}
}

// Both services may do what they need, and nothing else.
func TestHostHardening(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, writes, families string }{
		{"customersession.service", filepath.Dir(hostEnvironment(t)["CUSTOMERSESSION_REVOCATIONS_FILE"]), "AF_INET AF_INET6 AF_UNIX"},
		{"customersession-rotate.service", "/var/lib/customersession", "AF_UNIX"},
	} {
		u := readHostUnit(t, test.name)
		want := map[string]string{
			"User": "customersession", "Group": "customersession", "UMask": "0077", "LimitCORE": "0", "MemorySwapMax": "0",
			"MemoryMax": "256M", "ProtectSystem": "strict", "ProtectProc": "invisible", "CapabilityBoundingSet": "",
			"SystemCallFilter": "@system-service", "SystemCallArchitectures": "native",
			"ReadWritePaths": test.writes, "RestrictAddressFamilies": test.families,
		}
		for _, key := range []string{
			"LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectClock",
			"ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
			"ProtectKernelTunables", "RemoveIPC", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
		} {
			want[key] = "yes"
		}
		for key, value := range want {
			if got := u.value(key); got != value || len(u[key]) != 1 && key != "ReadWritePaths" {
				t.Errorf("%s: %s=%s, want %s, once", test.name, key, got, value)
			}
		}
	}
}

// The files name each other, and what they name is right.
func TestHostUnits(t *testing.T) {
	t.Parallel()
	service := readHostUnit(t, "customersession.service")
	sockets := strings.Fields(service.value("Sockets"))
	var names []string
	for _, name := range sockets {
		u := readHostUnit(t, name)
		names = append(names, u.value("FileDescriptorName"))
		if u.value("Service") != "customersession.service" || !strings.HasPrefix(u.value("ListenStream"), "127.0.0.1:") {
			t.Errorf("%s: it is for %s at %s", name, u.value("Service"), u.value("ListenStream"))
		}
		for _, key := range []string{"Requires", "After"} {
			if !slices.Contains(strings.Fields(service.value(key)), name) {
				t.Errorf("the service lacks %s=%s", key, name)
			}
		}
	}
	if !slices.Equal(names, []string{"public", "operations"}) {
		t.Errorf("the sockets have the names %q", names)
	}
	if timer := readHostUnit(t, "customersession-rotate.timer"); timer.value("OnCalendar") != "daily" || timer.value("Persistent") != "true" {
		t.Errorf("the timer is %v", timer)
	}
	keys := hostEnvironment(t)["CUSTOMERSESSION_KEYS_FILE"]
	if got := readHostUnit(t, "customersession-rotate.service").value("ReadWritePaths"); got != filepath.Dir(keys) {
		t.Errorf("the rotation may write %s, and the keys are in %s", got, keys)
	}
	secret := readHostUnit(t, "postgres.conf")
	id, _, _ := strings.Cut(secret.value("LoadCredential"), ":")
	if want := "CUSTOMERSESSION_CUSTOMERS_DSN_FILE=%d/" + id; secret.value("Environment") != want {
		t.Errorf("the setting is %s, want %s", secret.value("Environment"), want)
	}
	appended := strings.TrimPrefix(readHostUnit(t, "log-file.conf").value("StandardError"), "append:")
	if !strings.Contains(readHostFile(t, "logrotate"), "\n"+appended+" {\n") {
		t.Errorf("logrotate is not about %s", appended)
	}
}

// hostEnvironment reads the environment file, which must mean the same to a shell.
func hostEnvironment(t *testing.T) map[string]string {
	t.Helper()
	settings := map[string]string{}
	for line := range strings.Lines(readHostFile(t, "environment")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		if !regexp.MustCompile(`^[\w./:,-]+$`).MatchString(value) {
			t.Errorf("a shell reads %s differently", line)
		}
		settings[name] = value
	}
	return settings
}

// checkHostLimits compares limits of the unit with settings and their defaults.
func checkHostLimits(t *testing.T, defaults map[string]string) {
	t.Helper()
	service := readHostUnit(t, "customersession.service")
	duration := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Error(err)
		}
		return d
	}
	number := func(text string) (n int) {
		if _, err := fmt.Sscan(text, &n); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		return n
	}
	// Also for those who remove the setting.
	drain := duration(defaults["CUSTOMERSESSION_DRAIN_DELAY"]) + duration(defaults["CUSTOMERSESSION_DRAIN_TIMEOUT"])
	if limit := duration(service.value("TimeoutStopSec") + "s"); limit < drain+2*time.Second {
		t.Errorf("systemd kills it after %v, and draining takes up to %v", limit, drain)
	}
	if files, connections := number(service.value("LimitNOFILE")), number(defaults["CUSTOMERSESSION_CONNECTIONS"]); files < connections+256 {
		t.Errorf("%d files for %d connections", files, connections)
	}
	soft, hard := number(strings.TrimPrefix(service.value("Environment"), "GOMEMLIMIT=")), number(service.value("MemoryMax"))
	if soft*100 < hard*85 || soft*100 > hard*92 {
		t.Errorf("GOMEMLIMIT is %d MiB and MemoryMax %d MiB; want nine tenths", soft, hard)
	}
}

// The page names every file, and every path in a file.
func TestHostPage(t *testing.T) {
	t.Parallel()
	page := readHostFile(t, "README.md")
	files, err := filepath.Glob("host/*")
	if err != nil || len(files) < 9 {
		t.Fatalf("found the files %q, %v", files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name == "README.md" {
			continue
		}
		if !strings.Contains(page, "]("+name+")") {
			t.Errorf("the page has no link to %s", name)
		}
		for _, path := range regexp.MustCompile(`/(?:etc|usr|var)/[\w./-]+\w`).FindAllString(readHostFile(t, name), -1) {
			if !strings.Contains(page, path) {
				t.Errorf("%s names %s, and the page does not", name, path)
			}
		}
	}
}

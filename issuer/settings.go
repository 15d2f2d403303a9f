package issuer

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/issuer/internal/tracing"
)

// settingsPrefix is the prefix of every environment variable of the server.
const settingsPrefix = "CUSTOMERSESSION"

// Settings is the environment of the production server. No setting holds a
// secret: settings name files.
type Settings struct {
	Issuer         string `envconfig:"ISSUER" required:"true" desc:"Public URL of this server, https, without a slash at the end; the iss of every token"`
	Audience       string `envconfig:"AUDIENCE" default:"customer-portal" desc:"Whom tokens are for; the aud of every token"`
	Addr           string `envconfig:"ADDR" default:":8080" desc:"Address of the public listener"`
	OperationsAddr string `envconfig:"OPERATIONS_ADDR" default:":9090" desc:"Address of the listener for health and metrics; never expose it"`

	KeysFile          string `envconfig:"KEYS_FILE" required:"true" desc:"Key manifest, made by keys init; re-read when it changes"`
	PKCS11Module      string `envconfig:"PKCS11_MODULE" desc:"For keys in a device: path of its PKCS #11 library; needs a build with -tags pkcs11"`
	PKCS11PINFile     string `envconfig:"PKCS11_PIN_FILE" desc:"For keys in a device: file with its PIN"`
	OrganizationsFile string `envconfig:"ORGANIZATIONS_FILE" required:"true" desc:"Organizations and API keys, JSON; re-read when it changes"`

	Customers                string        `envconfig:"CUSTOMERS" required:"true" desc:"Where customers come from: file, http, postgres or request"`
	CustomersFile            string        `envconfig:"CUSTOMERS_FILE" desc:"For file: JSON Lines, one customer a line, for up to 100,000; re-read when it changes"`
	CustomersURL             string        `envconfig:"CUSTOMERS_URL" desc:"For http: base URL of a server with Polar's /v1/customers API, https"`
	CustomersTokenFile       string        `envconfig:"CUSTOMERS_TOKEN_FILE" desc:"For http: file with the bearer token to send; read at start"`
	CustomersDSNFile         string        `envconfig:"CUSTOMERS_DSN_FILE" desc:"For postgres: file with the connection string; read at start"`
	CustomersDSNInsecure     bool          `envconfig:"CUSTOMERS_DSN_INSECURE" default:"false" desc:"For postgres: true accepts a connection over a network without verified TLS, where anybody on the path can read and change customers"`
	CustomersQueryID         string        `envconfig:"CUSTOMERS_QUERY_ID" desc:"For postgres: query by ID; $1 organization ID, $2 customer ID. Default: SELECT * FROM customers WHERE organization_id = $1 AND id = $2"`
	CustomersQueryExternalID string        `envconfig:"CUSTOMERS_QUERY_EXTERNAL_ID" desc:"For postgres: query by external ID; $1 organization ID, $2 external ID. Default: SELECT * FROM customers WHERE organization_id = $1 AND external_id = $2"`
	CustomersQueryMembers    string        `envconfig:"CUSTOMERS_QUERY_MEMBERS" desc:"For postgres: query for the members of a customer, such as SELECT * FROM members WHERE organization_id = $1 AND customer_id = $2; without it there are none, and teams get no sessions"`
	CustomersTimeout         time.Duration `envconfig:"CUSTOMERS_TIMEOUT" default:"2s" desc:"For http and postgres: time for one attempt, 100ms to 10s"`

	Revocations            string        `envconfig:"REVOCATIONS" default:"off" desc:"Where the log of ended sessions is: file, for any number of processes on one host, or postgres, for many hosts; off: no session can be ended"`
	RevocationsFile        string        `envconfig:"REVOCATIONS_FILE" desc:"For file: the log, made by revocations init"`
	RevocationsDSNFile     string        `envconfig:"REVOCATIONS_DSN_FILE" desc:"For postgres: file with the connection string; read at start. The table is made by revocations init"`
	RevocationsDSNInsecure bool          `envconfig:"REVOCATIONS_DSN_INSECURE" default:"false" desc:"For postgres: true accepts a connection over a network without verified TLS, where anybody on the path can read and change the log"`
	RevocationsMaxAge      time.Duration `envconfig:"REVOCATIONS_MAX_AGE" default:"15m" desc:"How old a consumer's knowledge of ended sessions may get before it answers 503, 10s to 24h; an ended session is refused everywhere after this time at the latest"`

	SessionLifetime    time.Duration `envconfig:"SESSION_LIFETIME" default:"1h" desc:"How long a session lasts when the request does not say"`
	MaxSessionLifetime time.Duration `envconfig:"MAX_SESSION_LIFETIME" default:"24h" desc:"Longest session that may be asked for, at most 24h"`

	KeyRate               float64    `envconfig:"KEY_RATE" default:"100" desc:"Requests a second for each API key; 0 for no limit"`
	KeyBurst              int        `envconfig:"KEY_BURST" default:"200" desc:"Requests at once for each API key"`
	SessionRate           float64    `envconfig:"SESSION_RATE" default:"5" desc:"Requests a second with the token of one session; 0 for no limit"`
	SessionBurst          int        `envconfig:"SESSION_BURST" default:"20" desc:"Such requests at once"`
	AddressRate           float64    `envconfig:"ADDRESS_RATE" default:"200" desc:"Requests a second with the tokens of all sessions for each client address, which may be a portal's server; 0 for no limit"`
	AddressBurst          int        `envconfig:"ADDRESS_BURST" default:"400" desc:"Such requests at once"`
	AnonymousRate         float64    `envconfig:"ANONYMOUS_RATE" default:"1" desc:"Requests a second without valid credentials for each client address; 0 for no limit"`
	AnonymousBurst        int        `envconfig:"ANONYMOUS_BURST" default:"20" desc:"Such requests at once"`
	Connections           int        `envconfig:"CONNECTIONS" default:"1024" desc:"Open connections, each up to 150 KiB; beyond that, connections of the clients that hold the most are closed"`
	ConnectionsPerAddress int        `envconfig:"CONNECTIONS_PER_ADDRESS" default:"256" desc:"Such connections from one client address, except trusted proxies"`
	TrustedProxies        prefixes   `envconfig:"TRUSTED_PROXIES" desc:"Networks whose X-Forwarded-For names the client, e.g. 10.0.0.0/8,fd00::/8"`
	LogLevel              slog.Level `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`

	TracesHeadersFile string `envconfig:"TRACES_HEADERS_FILE" desc:"File with headers for the collector of OTEL_EXPORTER_OTLP_ENDPOINT, one Name: value a line, such as credentials; needs https; read at start"`

	DrainDelay   time.Duration `envconfig:"DRAIN_DELAY" default:"5s" desc:"How long requests are still taken after SIGTERM, while readiness is false"`
	DrainTimeout time.Duration `envconfig:"DRAIN_TIMEOUT" default:"20s" desc:"How long requests in flight may take after that"`

	// TracesEndpoint is where traces go by the standard OTEL_* variables. Empty:
	// nowhere.
	TracesEndpoint string `ignored:"true"`
	// Version is the version of the program in traces, empty if unknown. It does
	// not come from the environment.
	Version string `ignored:"true"`
}

// prefixes is a comma-separated list of networks.
type prefixes []netip.Prefix

// Decode implements [envconfig.Decoder].
func (p *prefixes) Decode(value string) error {
	for text := range strings.SplitSeq(value, ",") {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		*p = append(*p, prefix.Masked())
	}
	return nil
}

// LoadSettings reads the environment. The error names everything that is
// missing, wrong or misspelt at once. It repeats no value, because a value may
// be a misplaced secret.
func LoadSettings() (Settings, error) {
	var s Settings
	var problems []error
	unreadable := map[string]bool{}
	known := map[string]bool{}
	// envconfig stops at the first problem, so it is given one field at a time.
	value := reflect.ValueOf(&s).Elem()
	for i := range value.NumField() {
		field := value.Type().Field(i)
		if field.Tag.Get("ignored") != "" {
			continue
		}
		name := settingsPrefix + "_" + field.Tag.Get("envconfig")
		known[name] = true
		field.Tag = tagFor(name, field.Tag)
		single := reflect.New(reflect.StructOf([]reflect.StructField{field}))
		if err := envconfig.Process("", single.Interface()); err != nil {
			unreadable[name] = true
			problems = append(problems, settingError(name, field.Type, err))
			continue
		}
		value.Field(i).Set(single.Elem().Field(0))
	}
	problems = append(problems, misspelt(known)...)
	var err error
	s.TracesEndpoint, err = tracing.Endpoint(os.Getenv, s.TracesHeadersFile) //nolint:forbidigo // these are not envconfig's
	problems = append(problems, err)
	for _, err := range s.problems() {
		if err == nil {
			continue
		}
		// A variable that could not be read was reported, and its field is zero.
		if name, _, _ := strings.Cut(err.Error(), " "); !unreadable[name] {
			problems = append(problems, err)
		}
	}
	return s, errors.Join(problems...)
}

// tagFor returns the tag that makes envconfig read one variable. Given a prefix,
// it would also read the name without it, so that LOG_LEVEL, say, were a setting.
func tagFor(name string, tag reflect.StructTag) reflect.StructTag {
	if os.Getenv(name) == "" { //nolint:forbidigo // envconfig cannot tell empty from set
		// Set and empty counts as unset. No variable can have such a name.
		name += "="
	}
	return reflect.StructTag(fmt.Sprintf(`envconfig:%q required:%q default:%q`, name, tag.Get("required"), tag.Get("default")))
}

// misspelt returns all variables that have the prefix and are not settings.
// envconfig's own check reports one at a time.
func misspelt(known map[string]bool) []error {
	var problems []error
	for _, variable := range os.Environ() { //nolint:forbidigo // the names only; envconfig reads the values
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, settingsPrefix+"_") && !known[name] {
			problems = append(problems, fmt.Errorf("%s is not a setting; see customersession config"+
				" (Kubernetes sets such variables unless enableServiceLinks is false)", name))
		}
	}
	return problems
}

// settingError describes what is wrong with one variable.
func settingError(name string, kind reflect.Type, err error) error {
	if _, ok := errors.AsType[*envconfig.ParseError](err); !ok {
		return errors.New(name + " is missing")
	}
	wanted := map[reflect.Type]string{
		reflect.TypeFor[time.Duration](): "a duration such as 90s or 1h30m",
		reflect.TypeFor[float64]():       "a number",
		reflect.TypeFor[int]():           "a whole number",
		reflect.TypeFor[bool]():          "true or false",
		reflect.TypeFor[slog.Level]():    "debug, info, warn or error",
		reflect.TypeFor[prefixes]():      "a list of networks such as 10.0.0.0/8,fd00::/8",
	}
	return fmt.Errorf("%s is not %s", name, wanted[kind])
}

// problems checks the rules that envconfig does not know.
func (s *Settings) problems() []error {
	var problems []error
	problem := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New(settingsPrefix+"_"+text))
		}
	}
	if s.Issuer != "" {
		if err := checkIssuer(s.Issuer); err != nil {
			problems = append(problems, fmt.Errorf("%s_ISSUER is wrong: %w", settingsPrefix, err))
		}
	}
	problem(strings.TrimSpace(s.Audience) == "", "AUDIENCE is blank")
	problem(!isAddr(s.Addr), "ADDR is not host:port")
	problem(!isAddr(s.OperationsAddr), "OPERATIONS_ADDR is not host:port")
	problem(s.Addr == s.OperationsAddr && isAddr(s.Addr), "OPERATIONS_ADDR is the same as ADDR; health and metrics need a listener of their own")
	problem(s.PKCS11PINFile != "" && s.PKCS11Module == "", "PKCS11_PIN_FILE is set, but "+settingsPrefix+"_PKCS11_MODULE is missing")
	problem(s.MaxSessionLifetime < minLifetime || s.MaxSessionLifetime > longestLifetime, "MAX_SESSION_LIFETIME is not between 1m and 24h")
	problem(s.SessionLifetime < minLifetime || s.SessionLifetime > s.MaxSessionLifetime, "SESSION_LIFETIME is not between 1m and MAX_SESSION_LIFETIME")
	problem(s.CustomersTimeout < 100*time.Millisecond || s.CustomersTimeout > 10*time.Second, "CUSTOMERS_TIMEOUT is not between 100ms and 10s")
	problem(s.RevocationsMaxAge < minRevocationAge || s.RevocationsMaxAge > longestRevocationAge, "REVOCATIONS_MAX_AGE is not between 10s and 24h")
	problem(s.RevocationsMaxAge%time.Second != 0, "REVOCATIONS_MAX_AGE is not in whole seconds")
	problem(s.RevocationsDSNInsecure && s.Revocations != string(revocations.EnginePostgres), "REVOCATIONS_DSN_INSECURE is set, but "+settingsPrefix+"_REVOCATIONS is not postgres")
	problem(!isRate(s.KeyRate), "KEY_RATE is not a number from 0 up")
	problem(s.KeyRate > 0 && s.KeyBurst < 1, "KEY_BURST is less than 1")
	problem(!isRate(s.SessionRate), "SESSION_RATE is not a number from 0 up")
	problem(s.SessionRate > 0 && s.SessionBurst < 1, "SESSION_BURST is less than 1")
	problem(!isRate(s.AddressRate), "ADDRESS_RATE is not a number from 0 up")
	problem(s.AddressRate > 0 && s.AddressBurst < 1, "ADDRESS_BURST is less than 1")
	problem(!isRate(s.AnonymousRate), "ANONYMOUS_RATE is not a number from 0 up")
	problem(s.AnonymousRate > 0 && s.AnonymousBurst < 1, "ANONYMOUS_BURST is less than 1")
	problem(s.Connections < 1, "CONNECTIONS is less than 1")
	problem(s.ConnectionsPerAddress < 1, "CONNECTIONS_PER_ADDRESS is less than 1")
	problem(s.DrainDelay < 0 || s.DrainDelay > 5*time.Minute, "DRAIN_DELAY is not between 0s and 5m")
	problem(s.DrainTimeout < time.Second || s.DrainTimeout > 5*time.Minute, "DRAIN_TIMEOUT is not between 1s and 5m")
	problems = append(problems, s.revocationLog().Check())
	return append(problems, s.directoryProblems()...)
}

// revocationLog says which log of revocations the settings name.
func (s *Settings) revocationLog() revocations.Config {
	return revocations.Config{
		Engine: revocations.Engine(s.Revocations), File: s.RevocationsFile,
		DSNFile: s.RevocationsDSNFile, DSNInsecure: s.RevocationsDSNInsecure,
	}
}

// directoryProblems checks that the chosen directory has the settings that it
// needs, and that none is set for another directory.
func (s *Settings) directoryProblems() []error {
	needed := map[string]bool{}
	switch s.Customers {
	case "file":
		needed["CUSTOMERS_FILE"] = true
	case "http":
		needed["CUSTOMERS_URL"], needed["CUSTOMERS_TOKEN_FILE"] = true, false
	case "postgres":
		needed["CUSTOMERS_DSN_FILE"] = true
		needed["CUSTOMERS_DSN_INSECURE"] = false
		needed["CUSTOMERS_QUERY_ID"], needed["CUSTOMERS_QUERY_EXTERNAL_ID"] = false, false
		needed["CUSTOMERS_QUERY_MEMBERS"] = false
	case "request", "":
	default:
		return []error{errors.New(settingsPrefix + "_CUSTOMERS is not file, http, postgres or request")}
	}
	insecure := ""
	if s.CustomersDSNInsecure {
		insecure = "true"
	}
	var problems []error
	for _, setting := range []struct{ name, value string }{
		{"CUSTOMERS_FILE", s.CustomersFile},
		{"CUSTOMERS_URL", s.CustomersURL},
		{"CUSTOMERS_TOKEN_FILE", s.CustomersTokenFile},
		{"CUSTOMERS_DSN_FILE", s.CustomersDSNFile},
		{"CUSTOMERS_DSN_INSECURE", insecure},
		{"CUSTOMERS_QUERY_ID", s.CustomersQueryID},
		{"CUSTOMERS_QUERY_EXTERNAL_ID", s.CustomersQueryExternalID},
		{"CUSTOMERS_QUERY_MEMBERS", s.CustomersQueryMembers},
	} {
		required, used := needed[setting.name]
		if required && setting.value == "" {
			problems = append(problems, fmt.Errorf("%s_%s is missing; %s_CUSTOMERS=%s needs it",
				settingsPrefix, setting.name, settingsPrefix, s.Customers))
		}
		if !used && setting.value != "" && s.Customers != "" {
			problems = append(problems, fmt.Errorf("%s_%s is set, but %s_CUSTOMERS=%s does not use it",
				settingsPrefix, setting.name, settingsPrefix, s.Customers))
		}
	}
	return problems
}

// isRate reports whether f is a number from 0 up, and finite.
func isRate(f float64) bool { return f >= 0 && f <= math.MaxFloat64 }

func isAddr(text string) bool {
	_, port, err := net.SplitHostPort(text)
	return err == nil && port != ""
}

// WriteSettings prints the settings in a format of [envconfig.Usagef].
func WriteSettings(w io.Writer, format string) error {
	return envconfig.Usagef(settingsPrefix, &Settings{}, w, format)
}

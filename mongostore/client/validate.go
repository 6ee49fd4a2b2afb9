package client

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// A ConfigError says which setting is wrong. It never holds a secret.
type ConfigError struct {
	// Setting is the field, as "MaxPool", or the variable, as
	// "MONGODB_MAX_POOL".
	Setting string
	// Reason says what its value is and what is allowed.
	Reason string
}

func (e *ConfigError) Error() string { return e.Setting + " " + e.Reason }

// Validate reports everything that is wrong with the configuration at once, as
// joined [*ConfigError]s. It looks whether files are
// there and talks to no server.
func (c Config) Validate() error { return c.validate(fieldNames()) }

// names are the settings as their author knows them: fields or variables.
type names map[string]string

func fieldNames() names { return names{} }

func (n names) of(field string) string {
	if name, ok := n[field]; ok {
		return name
	}
	return field
}

func (c Config) validate(n names) error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Setting: n.of(field), Reason: fmt.Sprintf(format, args...)})
	}
	if reason := uriProblem(c.URI); reason != "" {
		wrong("URI", "%s", reason)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"MaxIdleTime", c.MaxIdleTime},
		{"WaitQueueTimeout", c.WaitQueueTimeout},
		{"ServerSelectionTimeout", c.ServerSelectionTimeout},
		{"ConnectTimeout", c.ConnectTimeout},
		{"TLS.ReloadInterval", c.TLS.ReloadInterval},
	} {
		if d.value < 0 {
			wrong(d.field, "is %s; it takes a duration of 0 (for the default) or more", d.value)
		}
	}
	if limit := c.withDefaults().MaxPool; c.MinPool > limit {
		wrong("MinPool", "is %d, above the %d of %s", c.MinPool, limit, n.of("MaxPool"))
	}
	errs = append(errs, c.TLS.validate(n)...)
	if names := optionsOfURI(c.URI).tlsFiles(); c.TLS.Enabled && len(names) > 0 {
		wrong("URI", "has %s, which is not heeded while %s is set: give files in the settings on TLS, or turn that off", strings.Join(names, " and "), n.of("TLS.Enabled"))
	}
	if _, err := c.ReadPreference.driver(); err != nil {
		wrong("ReadPreference", "%v", err)
	}
	if _, err := c.ReadConcern.driver(); err != nil {
		wrong("ReadConcern", "%v", err)
	}
	if _, err := c.WriteConcern.driver(); err != nil {
		wrong("WriteConcern", "%v", err)
	}
	switch c.SimulationMode {
	case "", SimulationDisabled:
	case SimulationServer, SimulationRecord, SimulationReplay:
		if c.Dialer == nil {
			wrong("SimulationMode", "is %s, and no Dialer is set to stand in for the server", c.SimulationMode)
		}
	default:
		wrong("SimulationMode", "is %q; it takes disabled, server, record or replay", c.SimulationMode)
	}
	return errors.Join(errs...)
}

// uriProblem says what is wrong with a connection string without repeating it:
// it may hold a password.
func uriProblem(uri string) string {
	switch {
	case uri == "":
		return "is not set; give it as mongodb://host:27017/?replicaSet=rs0"
	case !strings.HasPrefix(uri, "mongodb://") && !strings.HasPrefix(uri, "mongodb+srv://"):
		return "does not start with mongodb:// or mongodb+srv://"
	case strings.HasPrefix(uri, "mongodb+srv://"):
		return "" // reading it would ask a name server
	}
	if err := options.Client().ApplyURI(uri).Validate(); err != nil {
		return "is not a connection string: " + redactError(err, uri)
	}
	return ""
}

// redactError returns an error's text with the parts of a URI that may be secret
// left out: the URI, its user and password, and what is quoted from them or from
// options that are not printed.
func redactError(err error, uri string) string {
	text := err.Error()
	userinfo, options := secretsOf(uri)
	user, password, _ := strings.Cut(userinfo, ":")
	for _, secret := range []string{uri, userinfo, password, unescape(password), user} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return quoted().ReplaceAllStringFunc(text, func(q string) string {
		part := strings.Trim(q, `"`)
		if part != "" && slices.ContainsFunc(append(options, userinfo), func(s string) bool { return strings.Contains(s, part) }) {
			return "[redacted]"
		}
		return q
	})
}

func quoted() *regexp.Regexp { return regexp.MustCompile(`"[^"]*"`) }

// secretsOf returns what a URI, well formed or not, says before its last @, and
// the values of options that are not printed.
func secretsOf(uri string) (userinfo string, options []string) {
	_, rest, _ := strings.Cut(uri, "://")
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		userinfo, rest = rest[:at], rest[at+1:]
	}
	_, query, _ := strings.Cut(rest, "?")
	for option := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		if name, value, _ := strings.Cut(option, "="); !harmless(name) {
			options = append(options, value, unescape(value))
		}
	}
	return userinfo, options
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

func (t TLS) validate(n names) []error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Setting: n.of(field), Reason: fmt.Sprintf(format, args...)})
	}
	if !t.Enabled {
		for _, f := range []struct{ field, value string }{{"TLS.CAFile", t.CAFile}, {"TLS.CertFile", t.CertFile}, {"TLS.KeyFile", t.KeyFile}} {
			if f.value != "" {
				wrong(f.field, "is set to %s, but %s is not: set it, or leave the file out", f.value, n.of("TLS.Enabled"))
			}
		}
		return errs
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		wrong("TLS.CertFile", "and %s are needed together; they may be the same file", n.of("TLS.KeyFile"))
	}
	if t.MinVersion != 0 && (t.MinVersion < 0x0301 || t.MinVersion > 0x0304) {
		wrong("TLS.MinVersion", "is %#x, no version of TLS; use the constants of crypto/tls", t.MinVersion)
	}
	for _, f := range []struct{ field, path string }{{"TLS.CAFile", t.CAFile}, {"TLS.CertFile", t.CertFile}, {"TLS.KeyFile", t.KeyFile}} {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			wrong(f.field, "is %s, which cannot be read: %v", f.path, err)
		}
	}
	return errs
}

// ForEvents reports why an event store must not use this configuration: what
// would break its guarantees. Read models may.
func (c Config) ForEvents() error {
	var errs []error
	said := optionsOfURI(c.URI)
	if c.WriteConcern.W == "" {
		c.WriteConcern.W = said["w"]
	}
	if c.ReadPreference.Mode == "" {
		c.ReadPreference.Mode = said["readpreference"]
	}
	if c.ReadConcern == "" {
		c.ReadConcern = ReadConcern(said["readconcernlevel"])
	}
	if !c.WriteConcern.acknowledged() {
		errs = append(errs, &ConfigError{Setting: "WriteConcern", Reason: "is w:0: an append could not be told from a lost one; use majority"})
	}
	if c.WriteConcern.W != "" && c.WriteConcern.W != "0" && c.WriteConcern.W != "majority" {
		errs = append(errs, &ConfigError{Setting: "WriteConcern", Reason: fmt.Sprintf("is w:%s: an acknowledged append could be rolled back by a failover; use majority", c.WriteConcern.W)})
	}
	if m := c.ReadPreference.Mode; m != "" && !strings.EqualFold(m, "primary") {
		errs = append(errs, &ConfigError{Setting: "ReadPreference", Reason: fmt.Sprintf("is %s: decisions would be made on stale streams; use primary, and another client for read models", m)})
	}
	if r := c.ReadConcern; r == "local" || r == "available" {
		errs = append(errs, &ConfigError{Setting: "ReadConcern", Reason: fmt.Sprintf("is %s: what was read could be rolled back; use majority", string(r))})
	}
	return errors.Join(errs...)
}

package client

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// String returns the configuration in one line, without secrets: of the URI the
// scheme, the hosts, the database and harmless options remain.
func (c Config) String() string {
	c = c.withDefaults()
	parts := []string{
		"uri=" + redactURI(c.URI),
		fmt.Sprintf("pool=%d-%d", c.MinPool, c.MaxPool),
		"idle=" + c.MaxIdleTime.String(),
		"queue=" + c.WaitQueueTimeout.String(),
		"selection=" + c.ServerSelectionTimeout.String(),
		fmt.Sprintf("tls=%t", c.TLS.Enabled),
	}
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+value)
		}
	}
	add("ca", c.TLS.CAFile)
	add("cert", c.TLS.CertFile)
	add("read", c.ReadPreference.Mode)
	add("readConcern", string(c.ReadConcern))
	add("w", c.WriteConcern.W)
	if c.Credentials != nil {
		parts = append(parts, "credentials=[provided]")
	}
	add("simulation", string(c.SimulationMode))
	return strings.Join(parts, " ")
}

// GoString returns what String does, so that %#v prints no secrets either.
func (c Config) GoString() string { return "client.Config{" + c.String() + "}" }

// LogValue returns what String does.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// harmless are the options of a URI that are printed.
func harmless(option string) bool {
	switch strings.ToLower(option) {
	case "replicaset", "directconnection", "retrywrites", "retryreads", "w", "journal", "readpreference",
		"readconcernlevel", "tls", "ssl", "authmechanism", "authsource", "loadbalanced", "maxpoolsize", "minpoolsize",
		"appname", "connecttimeoutms", "maxidletimems", "serverselectiontimeoutms", "waitqueuetimeoutms", "wtimeoutms":
		return true
	}
	return false
}

// redactURI leaves the user, the password and unknown options out. It does not
// parse more than it must: a malformed URI is hidden whole.
func redactURI(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		if uri == "" {
			return ""
		}
		return "[not a URI]"
	}
	// A password may hold anything where somebody has forgotten to escape it.
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = "[user]@" + rest[at+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return scheme + "://" + rest
	}
	for option := range values {
		if !harmless(option) {
			values[option] = []string{"[redacted]"}
		}
	}
	if len(values) > 0 {
		rest += "?" + strings.ReplaceAll(strings.ReplaceAll(values.Encode(), "%5B", "["), "%5D", "]")
	}
	return scheme + "://" + rest
}

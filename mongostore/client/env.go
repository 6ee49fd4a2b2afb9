package client

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// FromEnv reads a configuration from environment variables; lookup is
// [os.LookupEnv] in programs. A variable that is not set or empty leaves its
// default. Mistakes are reported all at once, each naming the variable, the value
// and what is allowed.
//
// Durations are written as "5s", or as a number of milliseconds.
//
//	MONGODB_URI                       required
//	MONGODB_USERNAME                  or MONGODB_USERNAME_FILE, instead of the URI's
//	MONGODB_PASSWORD                  or MONGODB_PASSWORD_FILE
//	MONGODB_MIN_POOL                  5
//	MONGODB_MAX_POOL                  100
//	MONGODB_MAX_IDLE_TIME             10m
//	MONGODB_WAIT_QUEUE_TIMEOUT        10s
//	MONGODB_SERVER_SELECTION_TIMEOUT  30s
//	MONGODB_TLS_ENABLED               false
//	MONGODB_TLS_CA_FILE
//	MONGODB_TLS_CERT_FILE
//	MONGODB_TLS_KEY_FILE
//	MONGODB_READ_PREFERENCE           primary, as [ParseReadPreference] reads it
//	MONGODB_READ_CONCERN
//	MONGODB_WRITE_CONCERN             as [ParseWriteConcern] reads it
//	MONGODB_SIMULATION_MODE           disabled
//
// The files are looked at again every minute and when credentials are refused, see
// [FromFiles].
func FromEnv(lookup func(string) (string, bool)) (Config, error) {
	e := environment{lookup: lookup}
	var c Config
	c.URI = e.text("MONGODB_URI")
	c.Credentials = e.credentials()
	read(&e, "MONGODB_MIN_POOL", &c.MinPool, parseCount)
	read(&e, "MONGODB_MAX_POOL", &c.MaxPool, parseCount)
	read(&e, "MONGODB_MAX_IDLE_TIME", &c.MaxIdleTime, parseDuration)
	read(&e, "MONGODB_WAIT_QUEUE_TIMEOUT", &c.WaitQueueTimeout, parseDuration)
	read(&e, "MONGODB_SERVER_SELECTION_TIMEOUT", &c.ServerSelectionTimeout, parseDuration)
	read(&e, "MONGODB_TLS_ENABLED", &c.TLS.Enabled, parseBool)
	c.TLS.CAFile = e.text("MONGODB_TLS_CA_FILE")
	c.TLS.CertFile = e.text("MONGODB_TLS_CERT_FILE")
	c.TLS.KeyFile = e.text("MONGODB_TLS_KEY_FILE")
	read(&e, "MONGODB_READ_PREFERENCE", &c.ReadPreference, ParseReadPreference)
	c.ReadConcern = ReadConcern(e.text("MONGODB_READ_CONCERN"))
	read(&e, "MONGODB_WRITE_CONCERN", &c.WriteConcern, ParseWriteConcern)
	c.SimulationMode = SimulationMode(e.text("MONGODB_SIMULATION_MODE"))

	check := c
	if check.SimulationMode != "" && check.Dialer == nil {
		check.Dialer = laterDialer{} // the program sets it after this
	}
	return c, errors.Join(append(e.errs, check.validate(variableNames()))...)
}

func variableNames() names {
	return names{
		"URI":                    "MONGODB_URI",
		"MinPool":                "MONGODB_MIN_POOL",
		"MaxPool":                "MONGODB_MAX_POOL",
		"MaxIdleTime":            "MONGODB_MAX_IDLE_TIME",
		"WaitQueueTimeout":       "MONGODB_WAIT_QUEUE_TIMEOUT",
		"ServerSelectionTimeout": "MONGODB_SERVER_SELECTION_TIMEOUT",
		"TLS.Enabled":            "MONGODB_TLS_ENABLED",
		"TLS.CAFile":             "MONGODB_TLS_CA_FILE",
		"TLS.CertFile":           "MONGODB_TLS_CERT_FILE",
		"TLS.KeyFile":            "MONGODB_TLS_KEY_FILE",
		"ReadPreference":         "MONGODB_READ_PREFERENCE",
		"ReadConcern":            "MONGODB_READ_CONCERN",
		"WriteConcern":           "MONGODB_WRITE_CONCERN",
		"SimulationMode":         "MONGODB_SIMULATION_MODE",
	}
}

type environment struct {
	lookup func(string) (string, bool)
	errs   []error
}

func (e *environment) text(name string) string {
	value, _ := e.lookup(name)
	return strings.TrimSpace(value)
}

// credentialsCheck is how often files with credentials are looked at.
const credentialsCheck = time.Minute

// credentials returns what gives the user and the password, nil when neither is
// set.
func (e *environment) credentials() Provider {
	user, userInFile := e.secret("MONGODB_USERNAME", "the user's name")
	password, passwordInFile := e.secret("MONGODB_PASSWORD", "the password")
	switch {
	case user == nil && password == nil:
		return nil
	case user == nil:
		e.wrong("MONGODB_USERNAME", "is needed with the password: set it, or MONGODB_USERNAME_FILE")
	case password == nil:
		e.wrong("MONGODB_PASSWORD", "is needed with the user's name: set it, or MONGODB_PASSWORD_FILE")
	}
	validity := time.Duration(0)
	if userInFile || passwordInFile {
		validity = credentialsCheck
	}
	return fromSecrets(user, password, validity)
}

// secret returns what gives the value of a variable, or of the file that the
// variable of the same name with _FILE names; nil when neither is set.
func (e *environment) secret(name, what string) (_ secret, inFile bool) {
	file := e.text(name + "_FILE")
	value, _ := e.lookup(name)
	switch {
	case file != "" && value != "":
		e.wrong(name, "and %s_FILE are both set; set one of them", name)
	case file != "":
		if _, err := os.Stat(file); err != nil {
			e.wrong(name+"_FILE", "is %s, which cannot be read: %v", file, err)
		}
	case value != "":
		return ofVariable(e.lookup, name, what), false
	default:
		return nil, false
	}
	return ofFile(file), true
}

func (e *environment) wrong(name, format string, args ...any) {
	e.errs = append(e.errs, &ConfigError{Setting: name, Reason: fmt.Sprintf(format, args...)})
}

func read[T any](e *environment, name string, into *T, parse func(string) (T, error)) {
	text := e.text(name)
	if text == "" {
		return
	}
	value, err := parse(text)
	if err != nil {
		e.wrong(name, "is %q: %v", text, err)
		return
	}
	*into = value
}

func parseCount(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, errors.New("it takes a whole number from 1")
	}
	return n, nil
}

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("it takes true or false")
	}
	return b, nil
}

func parseDuration(s string) (time.Duration, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		d := time.Duration(ms) * time.Millisecond
		if ms < 0 || d/time.Millisecond != time.Duration(ms) {
			return 0, errors.New("it takes a duration such as 5s, or milliseconds, not negative")
		}
		return d, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("it takes a duration such as 5s, or milliseconds, not negative")
	}
	return d, nil
}

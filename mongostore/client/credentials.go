package client

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// A Credential is who a client says it is. It prints without the password.
type Credential struct {
	Username, Password string
	// Source is the database that the user is defined in; when empty the URI's
	// authSource, or else admin.
	Source string
	// Mechanism is SCRAM-SHA-256, SCRAM-SHA-1, MONGODB-X509 or another of the
	// driver's; when empty the URI's authMechanism, or else negotiated. X.509 takes
	// its name from the client certificate and needs no password.
	Mechanism string
	// Expires is when new credentials are to be had; zero for never.
	Expires time.Time
}

// String returns the user, and that there is a password.
func (c Credential) String() string {
	if c.Password == "" {
		return c.Username
	}
	return c.Username + ":[redacted]"
}

// GoString returns what String does.
func (c Credential) GoString() string { return "client.Credential{" + c.String() + "}" }

// LogValue returns what String does.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c Credential) same(o Credential) bool {
	c.Expires, o.Expires = time.Time{}, time.Time{}
	return c == o
}

// driver returns the credential as the driver takes it, with what it leaves open
// taken from the URI.
func (c Credential) driver(uri uriOptions) options.Credential {
	return options.Credential{
		AuthMechanism: cmp.Or(c.Mechanism, uri["authmechanism"]),
		AuthSource:    cmp.Or(c.Source, uri["authsource"]),
		Username:      c.Username,
		Password:      c.Password,
		PasswordSet:   c.Password != "",
	}
}

// A Provider gives credentials. It is asked at the start, before credentials
// expire, and after they were refused; it must not answer from a cache that it
// has no reason to trust. It may be called concurrently.
type Provider interface {
	Credential(ctx context.Context) (Credential, error)
}

// A ProviderFunc is a function as a [Provider].
type ProviderFunc func(ctx context.Context) (Credential, error)

// Credential calls f.
func (f ProviderFunc) Credential(ctx context.Context) (Credential, error) { return f(ctx) }

// Static always gives the same credential.
func Static(c Credential) Provider {
	return ProviderFunc(func(context.Context) (Credential, error) { return c, nil })
}

// A secret is a part of a credential that is read anew whenever it is asked for.
type secret func() (string, error)

// FromVariables gives the user and the password that two environment variables
// hold when it is asked; lookup is [os.LookupEnv] in programs.
func FromVariables(lookup func(string) (string, bool), user, password string) Provider {
	return fromSecrets(ofVariable(lookup, user, "the user's name"), ofVariable(lookup, password, "the password"), 0)
}

// FromFiles gives the user and the password that two files hold when it is
// asked, as mounted secrets do; white space around them is ignored. They are
// looked at again when validity has passed, or shortly before, and when they were
// refused; only then if it is zero. With a minute or less, a change is seen within
// that time.
func FromFiles(userFile, passwordFile string, validity time.Duration) Provider {
	return fromSecrets(ofFile(userFile), ofFile(passwordFile), validity)
}

func fromSecrets(user, password secret, validity time.Duration) Provider {
	return ProviderFunc(func(context.Context) (c Credential, err error) {
		if c.Username, err = user(); err != nil {
			return Credential{}, err
		}
		if c.Password, err = password(); err != nil {
			return Credential{}, err
		}
		if validity > 0 {
			c.Expires = time.Now().Add(validity)
		}
		return c, nil
	})
}

func ofVariable(lookup func(string) (string, bool), name, what string) secret {
	return func() (string, error) {
		value, _ := lookup(name)
		if value == "" {
			return "", &ConfigError{Setting: name, Reason: "is not set; it holds " + what}
		}
		return value, nil
	}
}

func ofFile(path string) secret {
	return func() (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read credentials: %w", err)
		}
		value := strings.TrimSpace(string(text))
		if value == "" {
			return "", &ConfigError{Setting: path, Reason: "is empty; it holds a user's name or password"}
		}
		return value, nil
	}
}

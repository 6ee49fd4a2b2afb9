package client

import (
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
	// Source is the database that the user is defined in; admin when empty.
	Source string
	// Mechanism is SCRAM-SHA-256, SCRAM-SHA-1, MONGODB-X509 or another of the
	// driver's; negotiated when empty. X.509 takes its name from the client
	// certificate and needs no password.
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

func (c Credential) driver() options.Credential {
	return options.Credential{
		AuthMechanism: c.Mechanism,
		AuthSource:    c.Source,
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

// FromVariables gives the user and the password that two environment variables
// hold when it is asked; lookup is [os.LookupEnv] in programs.
func FromVariables(lookup func(string) (string, bool), user, password string) Provider {
	return ProviderFunc(func(context.Context) (Credential, error) {
		u, ok := lookup(user)
		if !ok || u == "" {
			return Credential{}, &ConfigError{Setting: user, Reason: "is not set; it holds the user's name"}
		}
		p, ok := lookup(password)
		if !ok || p == "" {
			return Credential{}, &ConfigError{Setting: password, Reason: "is not set; it holds the password"}
		}
		return Credential{Username: u, Password: p}, nil
	})
}

// FromFiles gives the user and the password that two files hold when it is
// asked, as mounted secrets do; white space around them is ignored. They are
// looked at again after validity has passed, never if it is zero.
func FromFiles(userFile, passwordFile string, validity time.Duration) Provider {
	return ProviderFunc(func(context.Context) (Credential, error) {
		var c Credential
		for _, f := range []struct {
			path string
			into *string
		}{{userFile, &c.Username}, {passwordFile, &c.Password}} {
			text, err := os.ReadFile(f.path)
			if err != nil {
				return Credential{}, fmt.Errorf("read credentials: %w", err)
			}
			if *f.into = strings.TrimSpace(string(text)); *f.into == "" {
				return Credential{}, &ConfigError{Setting: f.path, Reason: "is empty; it holds a user's name or password"}
			}
		}
		if validity > 0 {
			c.Expires = time.Now().Add(validity)
		}
		return c, nil
	})
}

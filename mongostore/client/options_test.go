package client

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func optionsOf(t *testing.T, cfg Config, credential Credential) *options.ClientOptions {
	t.Helper()
	require.NoError(t, cfg.Validate())
	c := &Client{cfg: cfg.withDefaults()}
	opts := c.driverOptions(newWatcher(1, func(State) {}, time.Now), credential)
	require.NoError(t, opts.Validate())
	return opts
}

func TestX509(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg        Config
		credential Credential
		want       options.Credential
	}{
		"in the URI": {
			Config{URI: "mongodb://db.example.com/?authMechanism=MONGODB-X509&tls=true"},
			Credential{},
			options.Credential{AuthMechanism: "MONGODB-X509", AuthSource: "$external"},
		},
		"by a provider": {
			Config{URI: "mongodb://db.example.com/?tls=true", Credentials: Static(Credential{})},
			Credential{Mechanism: "MONGODB-X509"},
			options.Credential{AuthMechanism: "MONGODB-X509"},
		},
		"by a provider, with a name": {
			Config{URI: "mongodb://db.example.com/", TLS: TLS{Enabled: true}, Credentials: Static(Credential{})},
			Credential{Mechanism: "MONGODB-X509", Username: "CN=app"},
			options.Credential{AuthMechanism: "MONGODB-X509", Username: "CN=app"},
		},
		"SCRAM": {
			Config{URI: "mongodb://db.example.com/", Credentials: Static(Credential{})},
			Credential{Username: "app", Password: "secret", Source: "shop"},
			options.Credential{Username: "app", Password: "secret", PasswordSet: true, AuthSource: "shop"},
		},
		"SCRAM, with the source in the URI": {
			Config{URI: "mongodb://db.example.com/?authSource=shop", Credentials: Static(Credential{})},
			Credential{Username: "app", Password: "secret"},
			options.Credential{Username: "app", Password: "secret", PasswordSet: true, AuthSource: "shop"},
		},
		"a mechanism in the URI, a source in the credential": {
			Config{URI: "mongodb://user:old@db.example.com/?authMechanism=SCRAM-SHA-256&authSource=shop", Credentials: Static(Credential{})},
			Credential{Username: "app", Password: "secret", Source: "other"},
			options.Credential{AuthMechanism: "SCRAM-SHA-256", Username: "app", Password: "secret", PasswordSet: true, AuthSource: "other"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := optionsOf(t, c.cfg, c.credential)
			require.Equal(t, &c.want, opts.Auth)
			if c.cfg.TLS.Enabled {
				require.Nil(t, opts.TLSConfig, "the dialer encrypts, and reloads the files")
			}
		})
	}
}

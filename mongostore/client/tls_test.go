package client_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/mongostore/client"
)

func serverConfig(t *testing.T, a *authority, host string, until time.Time) *tls.Config {
	t.Helper()
	cert, key := a.issue(host, until)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	ca := write(t, dir, "ca.pem", ours.pem)
	otherCA := write(t, dir, "other.pem", others.pem)
	noCA := write(t, dir, "no.pem", []byte("hello"))
	cert, key := ours.issue("a client", time.Now().Add(time.Hour))
	certFile, keyFile := write(t, dir, "cert.pem", cert), write(t, dir, "key.pem", key)
	both := write(t, dir, "both.pem", append(cert, key...))
	_, otherKey := ours.issue("another client", time.Now().Add(time.Hour))
	otherKeyFile := write(t, dir, "otherkey.pem", otherKey)
	soon := time.Now().Add(time.Hour)

	demanding := serverConfig(t, ours, "127.0.0.1", soon)
	demanding.ClientAuth = tls.RequireAndVerifyClientCert
	demanding.ClientCAs = x509.NewCertPool()
	demanding.ClientCAs.AddCert(ours.cert)
	old := serverConfig(t, ours, "127.0.0.1", soon)
	old.MaxVersion = tls.VersionTLS12

	for name, c := range map[string]struct {
		server *tls.Config
		tls    client.TLS
		want   func(error) bool // nil: it connects
	}{
		"right":            {serverConfig(t, ours, "127.0.0.1", soon), client.TLS{CAFile: ca}, nil},
		"name given":       {serverConfig(t, ours, "db.example.com", soon), client.TLS{CAFile: ca, ServerName: "db.example.com"}, nil},
		"with certificate": {demanding, client.TLS{CAFile: ca, CertFile: certFile, KeyFile: keyFile}, nil},
		"in one file":      {demanding, client.TLS{CAFile: ca, CertFile: both, KeyFile: both}, nil},
		"wrong CA": {serverConfig(t, ours, "127.0.0.1", soon), client.TLS{CAFile: otherCA}, func(err error) bool {
			return errors.As(err, new(x509.UnknownAuthorityError))
		}},
		"CA of the system": {serverConfig(t, ours, "127.0.0.1", soon), client.TLS{}, func(err error) bool {
			return errors.As(err, new(x509.UnknownAuthorityError))
		}},
		"expired": {serverConfig(t, ours, "127.0.0.1", time.Now().Add(-time.Minute)), client.TLS{CAFile: ca}, func(err error) bool {
			var e x509.CertificateInvalidError
			return errors.As(err, &e) && e.Reason == x509.Expired
		}},
		"wrong host": {serverConfig(t, ours, "127.0.0.2", soon), client.TLS{CAFile: ca}, func(err error) bool {
			return errors.As(err, new(x509.HostnameError))
		}},
		"no certificate": {demanding, client.TLS{CAFile: ca}, func(err error) bool { return err != nil }},
		"old version":    {old, client.TLS{CAFile: ca, MinVersion: tls.VersionTLS13}, func(err error) bool { return err != nil }},
		"no PEM": {serverConfig(t, ours, "127.0.0.1", soon), client.TLS{CAFile: noCA}, func(err error) bool {
			return errors.As(err, new(*client.ConfigError))
		}},
		"no pair": {demanding, client.TLS{CAFile: ca, CertFile: certFile, KeyFile: otherKeyFile}, func(err error) bool {
			return errors.As(err, new(*client.ConfigError))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, uri := serveTLS(t, c.server)
			c.tls.Enabled = true
			connect := func(patience time.Duration) error {
				_, err := open(t, client.Config{URI: uri, TLS: c.tls, ServerSelectionTimeout: patience, ConnectTimeout: patience})
				return err
			}
			if c.want == nil {
				require.NoError(t, connect(time.Minute))
				return
			}
			// A refusal is only known when the patience ends; a busy machine may not have
			// got as far as that.
			var err error
			for patience := 3 * time.Second; patience < 2*time.Minute; patience *= 4 {
				if err = connect(patience); err == nil || c.want(err) {
					break
				}
			}
			require.Error(t, err)
			require.True(t, c.want(err), "%T: %v", err, err)
		})
	}
}

// TestTLSFilesAreReloaded changes the authority under a client that is at work
// and makes new connections all the time: a broken file is logged and the old one
// kept, a good one is used by new connections, and no operation fails.
func TestTLSFilesAreReloaded(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t), newAuthority(t)
	soon := time.Now().Add(time.Hour)
	var present atomic.Pointer[tls.Config]
	present.Store(serverConfig(t, first, "127.0.0.1", soon))
	var handshakes atomic.Int64
	_, uri := serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		handshakes.Add(1)
		return present.Load(), nil
	}})
	dir := t.TempDir()
	ca := write(t, dir, "ca.pem", first.pem)
	var log buffer
	c, err := open(t, client.Config{
		URI: uri, TLS: client.TLS{Enabled: true, CAFile: ca, ReloadInterval: 5 * time.Millisecond}, MinPool: 1, MaxIdleTime: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, nil)), ServerSelectionTimeout: 20 * time.Second,
	})
	require.NoError(t, err)

	var stop atomic.Bool
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() {
			for range time.Tick(2 * time.Millisecond) { // the connection gets too old meanwhile
				if stop.Load() {
					return
				}
				if _, err := c.Mongo().Database("db").Collection("c").InsertOne(t.Context(), bson.D{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer load.Wait()
	defer stop.Store(true)
	connectsAnew := func() {
		t.Helper()
		n := handshakes.Load()
		require.Eventually(t, func() bool { return handshakes.Load() > n+20 || t.Failed() }, time.Minute, time.Millisecond)
	}
	logged := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return bytes.Contains(log.bytes(), []byte(text)) }, time.Minute, time.Millisecond)
	}
	connectsAnew()
	replace(t, ca, []byte("garbage"))
	logged("cannot be used; keeping the old ones")
	connectsAnew()

	replace(t, ca, append(first.pem, second.pem...)) // as one does: the new one beside the old
	logged("TLS files reloaded")
	present.Store(serverConfig(t, second, "127.0.0.1", soon))
	connectsAnew()
}

// replace replaces a file in one step, as tools that rotate certificates do.
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	tmp := filepath.Join(filepath.Dir(path), "tmp")
	require.NoError(t, os.WriteFile(tmp, data, 0o600))
	require.NoError(t, os.Rename(tmp, path))
}

// buffer is a bytes.Buffer for concurrent use.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}

package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// A tlsDialer makes encrypted connections. The handshake is made here and not by
// the driver, which would keep the files' contents of the start for as long as the
// client lives; so each new connection is made with what the files hold now.
type tlsDialer struct {
	under   options.ContextDialer
	cfg     TLS
	logger  *slog.Logger
	current atomic.Pointer[tlsFiles]
	// failure is why the last handshake failed, nil after one that did not. The
	// driver tells of it as text only.
	failure atomic.Pointer[error]
}

// tlsFiles is what was read from the files.
type tlsFiles struct {
	ca, cert, key []byte // as read, to tell a change
	config        *tls.Config
}

func newTLSDialer(under options.ContextDialer, cfg TLS, logger *slog.Logger) (*tlsDialer, error) {
	d := &tlsDialer{under: under, cfg: cfg, logger: logger}
	files, err := readTLSFiles(cfg)
	if err != nil {
		return nil, err
	}
	d.current.Store(files)
	return d, nil
}

func readTLSFiles(cfg TLS) (*tlsFiles, error) {
	f := &tlsFiles{config: &tls.Config{MinVersion: cfg.MinVersion, ServerName: cfg.ServerName}}
	if f.config.MinVersion == 0 {
		f.config.MinVersion = tls.VersionTLS12
	}
	var err error
	if cfg.CAFile != "" {
		if f.ca, err = os.ReadFile(cfg.CAFile); err != nil {
			return nil, &ConfigError{Setting: "TLS.CAFile", Reason: "cannot be read: " + err.Error()}
		}
		f.config.RootCAs = x509.NewCertPool()
		if !f.config.RootCAs.AppendCertsFromPEM(f.ca) {
			return nil, &ConfigError{Setting: "TLS.CAFile", Reason: cfg.CAFile + " holds no PEM certificate"}
		}
	}
	if cfg.CertFile != "" {
		if f.cert, err = os.ReadFile(cfg.CertFile); err != nil {
			return nil, &ConfigError{Setting: "TLS.CertFile", Reason: "cannot be read: " + err.Error()}
		}
		if f.key, err = os.ReadFile(cfg.KeyFile); err != nil {
			return nil, &ConfigError{Setting: "TLS.KeyFile", Reason: "cannot be read: " + err.Error()}
		}
		pair, err := tls.X509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, &ConfigError{Setting: "TLS.CertFile", Reason: fmt.Sprintf("%s and %s do not make a pair: %v", cfg.CertFile, cfg.KeyFile, err)}
		}
		f.config.Certificates = []tls.Certificate{pair}
	}
	return f, nil
}

// DialContext connects to an address and makes the handshake.
func (d *tlsDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := d.under.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := d.current.Load().config
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		config = config.Clone()
		config.ServerName = host
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		err = fmt.Errorf("TLS handshake with %s: %w", address, err)
		if ctx.Err() == nil {
			d.failure.Store(&err)
		}
		return nil, err
	}
	d.failure.Store(nil)
	return conn, nil
}

// reload reads the files again. What cannot be used is logged, and what was read
// before is kept. It reports whether something has changed.
func (d *tlsDialer) reload() bool {
	fresh, err := readTLSFiles(d.cfg)
	if err != nil {
		d.logger.Error("TLS files have changed and cannot be used; keeping the old ones", "error", err)
		return false
	}
	old := d.current.Load()
	if bytes.Equal(fresh.ca, old.ca) && bytes.Equal(fresh.cert, old.cert) && bytes.Equal(fresh.key, old.key) {
		return false
	}
	d.current.Store(fresh)
	d.logger.Info("TLS files reloaded; new connections use them")
	return true
}

// watch looks at the files until ctx ends. It compares contents: a mounted
// secret changes by a swap of links, which file times do not show.
func (d *tlsDialer) watch(ctx context.Context) {
	ticker := time.NewTicker(d.cfg.ReloadInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.reload()
		case <-ctx.Done():
			return
		}
	}
}

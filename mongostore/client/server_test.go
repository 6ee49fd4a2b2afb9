package client_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/mongostore/client"
)

// A guarded is a server with access control, of which the test is an
// administrator.
type guarded struct {
	cfg      client.Config // without credentials of its own
	admin    *mongo.Database
	database string
}

// guardedServer returns the server of MONGODB_URI, with the other variables that
// [client.FromEnv] reads. It must know users and let the one of the URI make more:
// otherwise the test is skipped.
func guardedServer(t *testing.T) *guarded {
	t.Helper()
	if os.Getenv("MONGODB_URI") == "" {
		if os.Getenv("REQUIRE_MONGO") == "1" {
			t.Fatal("REQUIRE_MONGO=1 and MONGODB_URI is not set")
		}
		t.Skip("MONGODB_URI names no server")
	}
	cfg, err := client.FromEnv(os.LookupEnv)
	require.NoError(t, err)
	c, err := open(t, cfg)
	require.NoError(t, err)
	admin := c.Mongo().Database("admin")
	var status struct {
		AuthInfo struct {
			Users []bson.Raw `bson:"authenticatedUsers"`
		} `bson:"authInfo"`
	}
	require.NoError(t, admin.RunCommand(t.Context(), bson.D{{Key: "connectionStatus", Value: 1}}).Decode(&status))
	if len(status.AuthInfo.Users) == 0 {
		t.Skip("the server of MONGODB_URI has no access control, or the URI no user")
	}
	g := &guarded{cfg: cfg, admin: admin, database: fmt.Sprintf("annals_auth_%x", time.Now().UnixNano())}
	t.Cleanup(func() { require.NoError(t, c.Mongo().Database(g.database).Drop(context.Background())) })
	return g
}

// user makes a user, or changes the password of one.
func (g *guarded) user(t *testing.T, command, name, password string) {
	t.Helper()
	require.NoError(t, g.admin.RunCommand(t.Context(), bson.D{
		{Key: command, Value: name},
		{Key: "pwd", Value: password},
		{Key: "roles", Value: bson.A{bson.D{{Key: "role", Value: "readWrite"}, {Key: "db", Value: g.database}}}},
	}).Err())
	if command == "createUser" {
		t.Cleanup(func() {
			require.NoError(t, g.admin.RunCommand(context.Background(), bson.D{{Key: "dropUser", Value: name}}).Err())
		})
	}
}

// TestPasswordChangesOnAServer changes a password under load on a real server, the
// files of the provider a little before or after it: no operation fails.
func TestPasswordChangesOnAServer(t *testing.T) {
	t.Parallel()
	g := guardedServer(t)
	app := "app_" + g.database
	password := func(n int) string { return fmt.Sprintf("password %d", n) }
	g.user(t, "createUser", app, password(0))
	dir := t.TempDir()
	userFile, passwordFile := write(t, dir, "user", []byte(app)), write(t, dir, "password", []byte(password(0)))

	cfg := g.cfg
	cfg.Credentials = client.FromFiles(userFile, passwordFile, 3*time.Second)
	cfg.AppName = app
	cfg.MinPool, cfg.MaxIdleTime = 1, 50*time.Millisecond // so that new connections are made all the time
	c, err := open(t, cfg)
	require.NoError(t, err)
	storeConfig := mongostore.Config{Database: g.database, Reauthenticate: c.Refresh}
	require.NoError(t, mongostore.Migrate(t.Context(), c.Mongo(), storeConfig))
	s, err := mongostore.Open(t.Context(), c.Mongo(), storeConfig)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
	c.OnSwap(s.Rebind)
	var swaps atomic.Int64
	c.OnSwap(func(*mongo.Client) <-chan struct{} { swaps.Add(1); return nil })

	w := runWorkload(t, s, false)
	var used sync.WaitGroup
	var stop atomic.Bool
	used.Go(func() { // and operations of other kinds
		for !stop.Load() {
			err := c.Use(t.Context(), func(ctx context.Context, m *mongo.Client) error {
				_, err := m.Database(g.database).Collection("other").InsertOne(ctx, bson.D{})
				return err
			})
			if err != nil {
				t.Errorf("use: %v", err)
				return
			}
		}
	})
	progress := func() {
		t.Helper()
		n := w.written.Load()
		require.Eventually(t, func() bool { return w.written.Load() > n+20 || t.Failed() }, time.Minute, time.Millisecond)
	}
	for n := 1; n <= 6 && !t.Failed(); n++ {
		before := swaps.Load()
		if n%2 == 1 {
			replace(t, passwordFile, []byte(password(n)))
			progress()
			g.user(t, "updateUser", app, password(n))
		} else {
			g.user(t, "updateUser", app, password(n))
			<-time.After(300 * time.Millisecond) // whoever distributes the file takes his time
			replace(t, passwordFile, []byte(password(n)))
		}
		require.Eventually(t, func() bool { return swaps.Load() > before || t.Failed() }, time.Minute, time.Millisecond)
		progress()
	}
	stop.Store(true)
	used.Wait()
	w.finish(t, s)
	require.GreaterOrEqual(t, swaps.Load(), int64(6))
}

// TestX509OnAServer takes the user from the client's certificate, by a URI and by a
// provider.
func TestX509OnAServer(t *testing.T) {
	t.Parallel()
	g := guardedServer(t)
	if g.cfg.TLS.CertFile == "" {
		t.Skip("MONGODB_TLS_CERT_FILE names no certificate of a client")
	}
	subject := subjectOf(t, g.cfg.TLS.CertFile)
	external := g.admin.Client().Database("$external")
	require.NoError(t, external.RunCommand(t.Context(), bson.D{
		{Key: "createUser", Value: subject},
		{Key: "roles", Value: bson.A{bson.D{{Key: "role", Value: "readWrite"}, {Key: "db", Value: g.database}}}},
	}).Err())
	t.Cleanup(func() {
		require.NoError(t, external.RunCommand(context.Background(), bson.D{{Key: "dropUser", Value: subject}}).Err())
	})
	_, hosts, _ := strings.Cut(g.cfg.URI, "@")
	hosts, _, _ = strings.Cut(hosts, "/")
	for name, cfg := range map[string]client.Config{
		"in the URI":       {URI: "mongodb://" + hosts + "/?authMechanism=MONGODB-X509"},
		"with a name":      {URI: "mongodb://" + hosts + "/", Credentials: client.Static(client.Credential{Mechanism: "MONGODB-X509", Username: subject})},
		"by a provider":    {URI: "mongodb://" + hosts + "/", Credentials: client.Static(client.Credential{Mechanism: "MONGODB-X509"})},
		"no authorisation": {URI: "mongodb://" + hosts + "/"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.TLS, cfg.MinPool = g.cfg.TLS, 1
			c, err := open(t, cfg)
			if err == nil {
				_, err = c.Mongo().Database(g.database).Collection("x").InsertOne(t.Context(), bson.D{})
			}
			if name == "no authorisation" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
		})
	}
}

// subjectOf returns the subject of a certificate as MongoDB names its user.
func subjectOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	require.NotNil(t, block, "%s holds PEM", file)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	var subject pkix.RDNSequence
	_, err = asn1.Unmarshal(cert.RawSubject, &subject)
	require.NoError(t, err)
	return subject.String()
}

// TestTLSOnAServer connects to a real server with files that are not the right
// ones.
func TestTLSOnAServer(t *testing.T) {
	t.Parallel()
	g := guardedServer(t)
	if !g.cfg.TLS.Enabled {
		t.Skip("MONGODB_TLS_ENABLED is not set")
	}
	dir := t.TempDir()
	others := newAuthority(t)
	for name, change := range map[string]func(*client.TLS){
		"wrong CA":                       func(c *client.TLS) { c.CAFile = write(t, dir, "other.pem", others.pem) },
		"CA of the system":               func(c *client.TLS) { c.CAFile = "" },
		"wrong host":                     func(c *client.TLS) { c.ServerName = "db.example.com" },
		"no TLS":                         func(c *client.TLS) { *c = client.TLS{} },
		"a file that is no longer there": func(c *client.TLS) { c.CAFile = filepath.Join(dir, "none") },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := g.cfg
			cfg.ServerSelectionTimeout, cfg.ConnectTimeout = time.Second, time.Second
			change(&cfg.TLS)
			_, err := open(t, cfg)
			require.Error(t, err)
			t.Log(err)
		})
	}
}

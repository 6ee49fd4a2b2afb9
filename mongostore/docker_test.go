package mongostore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"
)

// TestMain runs the tests on a server in Docker when ANNALS_TEST_DOCKER names a
// version of MongoDB: what `make test-docker` does.
func TestMain(m *testing.M) {
	code, err := run(m, os.Getenv("ANNALS_TEST_DOCKER"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "MongoDB in Docker:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M, version string) (code int, err error) {
	if version == "" {
		code = m.Run()
		if code == 0 {
			if err := goleak.Find(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1, nil
			}
		}
		return code, nil
	}
	uri, stop, err := startInDocker(version)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := os.Setenv("MONGODB_URI", uri); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// startInDocker starts a replica set of one member.
func startInDocker(version string) (uri string, stop func() error, err error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return "", nil, err
	}
	pool.MaxWait = 2 * time.Minute
	container, err := pool.RunWithOptions(&dockertest.RunOptions{
		Repository: "mongo", Tag: version,
		Cmd: []string{"mongod", "--replSet", "rs0", "--bind_ip_all", "--setParameter", "enableTestCommands=1"},
	}, func(c *docker.HostConfig) { c.AutoRemove = true })
	if err != nil {
		return "", nil, err
	}
	stop = func() error { return pool.Purge(container) }
	// The member's address is that inside of the container: connect to it
	// directly.
	uri = "mongodb://" + container.GetHostPort("27017/tcp") + "/?directConnection=true"
	err = pool.Retry(func() error { return initiate(uri) })
	if err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return uri, stop, nil
}

// initiate makes the server a replica set and waits until it is primary.
func initiate(uri string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	admin := client.Database("admin")
	member := bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: "localhost:27017"}}
	err = admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: bson.D{{Key: "_id", Value: "rs0"}, {Key: "members", Value: bson.A{member}}}}}).Err()
	if err != nil && !hasCode(err, 23) { // AlreadyInitialized
		return err
	}
	var hello struct {
		Primary bool `bson:"isWritablePrimary"`
		Master  bool `bson:"ismaster"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "isMaster", Value: 1}}).Decode(&hello); err != nil {
		return err
	}
	if !hello.Primary && !hello.Master {
		return errors.New("it is not primary yet")
	}
	return nil
}

package readmodel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore/mongosim"
)

// Every command that the backend sends fails in every way, while rivals move the
// same checkpoints: a document counts the commits, so one that was lost or made
// twice is seen.
func TestFaults(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		name string
		fail func(*mongosim.FailPoint)
	}{
		{"refused by a server that is no primary", func(f *mongosim.FailPoint) { f.ErrorCode = 10107 }},
		{"interrupted by a stepdown", func(f *mongosim.FailPoint) { f.ErrorCode = 11602 }},
		{"connection closed before", func(f *mongosim.FailPoint) { f.CloseConnection = true }},
		{"reply lost after", func(f *mongosim.FailPoint) { f.LoseReply = true }},
		{"transient", func(f *mongosim.FailPoint) { f.ErrorCode, f.ErrorLabels = 112, []string{"TransientTransactionError"} }},
		{"the transaction is gone", func(f *mongosim.FailPoint) { f.ErrorCode = 251 }},
		{"slow", func(f *mongosim.FailPoint) { f.Block = 20 * time.Millisecond }},
		{"write concern not met", func(f *mongosim.FailPoint) {
			f.WriteConcernError = &mongosim.WriteConcernError{Code: 91, Name: "ShutdownInProgress", Message: "shutting down"}
		}},
	}
	for _, command := range []string{"find", "update", "delete", "commitTransaction", "abortTransaction", "create"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			for _, kind := range kinds {
				if kind.name == "the transaction is gone" && command != "update" && command != "delete" && command != "commitTransaction" {
					continue // no server answers that
				}
				t.Run(kind.name, func(t *testing.T) {
					t.Parallel()
					e := simulated(t)
					count(t, e, func(n int) {
						f := mongosim.FailPoint{Commands: []string{command}, Times: 1 + n%3}
						kind.fail(&f)
						if err := e.sim.FailCommand(f); err != nil {
							t.Error(err)
						}
					})
				})
			}
		})
	}
	t.Run("stepdown", func(t *testing.T) {
		t.Parallel()
		e := simulated(t)
		count(t, e, func(int) { e.sim.StepDown(10 * time.Millisecond) })
	})
	t.Run("network", func(t *testing.T) {
		t.Parallel()
		e := simulated(t)
		count(t, e, func(int) { e.sim.DropConnections() })
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		count(t, setup(t), func(int) {})
	})
}

// count has rivals count in documents. Shake is called before every second step:
// by the steps and not by the clock, since the driver waits for half a second
// after each lost connection.
func count(t *testing.T, e *env, shake func(n int)) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const steps = 4
	backends := []*Backend{e.Backend, e.backend(t)}
	var counting sync.WaitGroup
	for partition := range 2 {
		for i, b := range backends {
			counting.Go(func() {
				for n := range steps {
					if n%2 == i {
						shake(n)
					}
					if err := countOne(ctx, b, partition, n+i); err != nil {
						t.Errorf("partition %d: %v", partition, err)
						return
					}
				}
			})
		}
	}
	counting.Wait()
	if e.sim != nil {
		e.sim.ClearFailPoint()
		e.sim.Elect()
	}
	for partition := range 2 {
		n, from, err := counted(ctx, e.Backend, partition)
		require.NoError(t, err)
		require.EqualValues(t, n, from.Position, "commits counted, and the checkpoint")
		require.Equal(t, n, from.Revision)
		require.GreaterOrEqual(t, n, int64(steps))
	}
}

// countOne makes one commit that counts, or finds that a rival has made it.
func countOne(ctx context.Context, b *Backend, partition, n int) error {
	for {
		have, from, err := counted(ctx, b, partition)
		if err == nil {
			err = b.countFrom(ctx, partition, have, from, n)
		}
		switch {
		case err == nil, errors.Is(err, projection.ErrMoved):
			return nil
		case ctx.Err() != nil, !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, eventstore.ErrOutcomeUnknown):
			return err
		}
	}
}

func (b *Backend) countFrom(ctx context.Context, partition int, have int64, from projection.Checkpoint, n int) error {
	if have != int64(from.Position) {
		return fmt.Errorf("counted %d at %+v", have, from)
	}
	data, err := eventstore.NewBSONCodec().Marshal(doc{N: have + 1})
	if err != nil {
		return err
	}
	key := strconv.Itoa(partition)
	c := projection.Commit{
		Key: projection.CheckpointKey{Projection: "count", Version: 1, Partition: partition}, From: from, To: from.Position + 1,
		Changes: []projection.Change{{Model: "count_v1", Key: key, Data: data}, {Model: "count_v1", Key: "none" + key}},
	}
	if n%3 == 2 { // count by an update, and park something
		c.Parked = []projection.DeadLetter{{LetterID: projection.LetterID{Projection: "count", Version: 1, Key: key, Position: from.Position}}}
		c.Changes = []projection.Change{{Model: "count_v1", Key: key, Updates: []any{projection.Patch{Add: map[string]any{"n": int64(1)}}}}}
	}
	_, err = b.Commit(ctx, c)
	return err
}

// counted returns what is counted and the checkpoint, as one snapshot has them:
// read again until no rival has come between.
func counted(ctx context.Context, b *Backend, partition int) (int64, projection.Checkpoint, error) {
	key := projection.CheckpointKey{Projection: "count", Version: 1, Partition: partition}
	for {
		before, err := b.LoadCheckpoint(ctx, key)
		if err != nil {
			return 0, before, err
		}
		docs, err := b.LoadDocuments(ctx, "count_v1", []string{strconv.Itoa(partition)})
		if err != nil {
			return 0, before, err
		}
		after, err := b.LoadCheckpoint(ctx, key)
		if err != nil {
			return 0, after, err
		}
		if before != after {
			continue
		}
		var v doc
		if len(docs) == 1 {
			err = eventstore.NewBSONCodec().Unmarshal(docs[0].Data, &v)
		}
		return v.N, after, err
	}
}

// A client that finds no server gives up before the backend does, and is not said to
// have taken all of its time.
func TestNoServerIsNotTheTimeout(t *testing.T) {
	t.Parallel()
	e := simulated(t)
	lost, err := mongo.Connect(options.Client().SetDialer(nowhere{}).SetServerSelectionTimeout(10 * time.Millisecond))
	require.NoError(t, err)
	defer func() { require.NoError(t, lost.Disconnect(context.WithoutCancel(t.Context()))) }()
	err = e.failed(t.Context(), "load", lost.Ping(t.Context(), nil))
	require.ErrorIs(t, err, mongostore.ErrServerSelection)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.NotContains(t, err.Error(), "given up")
	err = e.failed(t.Context(), "load", fmt.Errorf("read: %w", context.DeadlineExceeded))
	require.ErrorIs(t, err, mongostore.ErrTimeout)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "given up after "+e.cfg.Timeout.String())
}

// nowhere is a network without servers.
type nowhere struct{}

func (nowhere) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no route")
}

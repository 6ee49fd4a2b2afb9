package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// ErrNotFound says that a store has no snapshot for a key.
var ErrNotFound = errors.New("no snapshot")

// A Key names a snapshot. A store keeps the newest one for each key; versions of
// the schema live side by side, so that during a deployment old and new programs
// do not take turns throwing each other's snapshots away.
type Key struct {
	Stream eventstore.StreamID
	// Schema is the version of the state's schema. It is to be raised whenever
	// the state's type or the way that events fold into it changes.
	Schema int
}

// A Snapshot is the encoded state of a stream after its event Version.
type Snapshot struct {
	Key
	Version eventstore.Version
	// Format is the encoding of State.
	Format eventstore.Format
	State  []byte
	// Time is when the snapshot was taken, in UTC with millisecond precision.
	Time time.Time
}

// A Store keeps snapshots. Implementations are safe for concurrent use, keep no
// memory that they are handed and hand out none that they keep.
type Store interface {
	// Load returns the snapshot of a key, or [ErrNotFound].
	Load(ctx context.Context, key Key) (Snapshot, error)
	// Save keeps a snapshot. One that is older than what the store has for the
	// key, by version, is silently dropped, so late writers do no harm.
	Save(ctx context.Context, s Snapshot) error
	// Delete removes the snapshots of a stream, of all schema versions. There
	// need not be any.
	Delete(ctx context.Context, stream eventstore.StreamID) error
}

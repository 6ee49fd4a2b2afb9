package projection

import (
	"context"
	"errors"
	"strconv"

	"github.com/annals-es/annals/eventstore"
)

// ErrFenced says that a write was refused because a worker with a higher fencing
// token has written since: the writer's lease was lost, and it must stop.
var ErrFenced = errors.New("fenced off: another worker has taken over")

// A CheckpointKey names a checkpoint: one partition of one version of a
// projection.
type CheckpointKey struct {
	Projection string
	Version    int
	// Partition is the number of the partition, zero for a projection that has
	// only one.
	Partition int
}

// String returns the key as "orders@2/0".
func (k CheckpointKey) String() string {
	return k.Projection + "@" + strconv.Itoa(k.Version) + "/" + strconv.Itoa(k.Partition)
}

// A Checkpoint says how far a projection has got: everything up to Position is
// applied.
type Checkpoint struct {
	Position eventstore.Position
	// Fence is the fencing token of the writer's lease, zero where a projection
	// runs without leases.
	Fence int64
	// Revision counts the commits behind this checkpoint, see [Committer]. Only
	// they change it: SaveCheckpoint takes no notice of it and leaves the stored
	// one as it is.
	Revision int64
}

// A CheckpointStore keeps checkpoints. Implementations are safe for concurrent
// use.
type CheckpointStore interface {
	// LoadCheckpoint returns the checkpoint of a key, the zero Checkpoint when
	// there is none.
	LoadCheckpoint(ctx context.Context, key CheckpointKey) (Checkpoint, error)
	// SaveCheckpoint keeps a checkpoint, also one that goes back (a reset). It
	// is [ErrFenced], and changes nothing, when the stored one has a higher
	// fencing token.
	SaveCheckpoint(ctx context.Context, key CheckpointKey, c Checkpoint) error
	// DeleteCheckpoint removes a checkpoint. There need not be one.
	DeleteCheckpoint(ctx context.Context, key CheckpointKey) error
}

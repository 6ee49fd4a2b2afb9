package projection

import (
	"context"
	"errors"
	"time"
)

// ErrLeaseHeld says that somebody else holds a lease.
var ErrLeaseHeld = errors.New("lease is held by another owner")

// A Lease is the right to work on something until it expires.
type Lease struct {
	// Name says what is leased, Owner who holds it.
	Name, Owner string
	// Fence is the fencing token: it is higher than that of every earlier lease
	// of this name by any owner. Writes carry it, so that a holder that was
	// paused past its lease is refused.
	Fence int64
	// Expires is by the store's clock, not the caller's.
	Expires time.Time
}

// A LeaseStore grants leases. Time is judged by the store's clock alone, so the
// owners' clocks may differ. Implementations are safe for concurrent use.
type LeaseStore interface {
	// AcquireLease takes the lease of a name for an owner, or prolongs it if the
	// owner holds it already, which keeps its fencing token. While another owner
	// holds it, it is [ErrLeaseHeld].
	AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (Lease, error)
	// ReleaseLease gives up a lease at once. It does nothing if it was lost in
	// the meantime.
	ReleaseLease(ctx context.Context, l Lease) error
	// Leases returns the unexpired leases whose names start with prefix, sorted
	// by name.
	Leases(ctx context.Context, prefix string) ([]Lease, error)
}

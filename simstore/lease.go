package simstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/annals-es/annals/projection"
)

// A lease is kept when it has expired or was released, with no owner: its fencing
// token must never be given again.
type lease struct {
	owner   string
	fence   int64
	expires time.Time
}

func (l lease) heldAt(now time.Time) bool { return l.owner != "" && now.Before(l.expires) }

// AcquireLease implements [projection.LeaseStore].
func (s *Store) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (projection.Lease, error) {
	if err := s.ready(ctx); err != nil {
		return projection.Lease{}, err
	}
	switch {
	case name == "":
		return projection.Lease{}, invalidf("lease's name", "is empty")
	case owner == "":
		return projection.Lease{}, invalidf("lease's owner", "is empty")
	case ttl <= 0:
		return projection.Lease{}, invalidf("lease's time to live", "is %s; it must be positive", ttl)
	}
	if err := s.begin(ctx, OpAcquireLease, ""); err != nil {
		return projection.Lease{}, err
	}
	var granted projection.Lease
	var err error
	s.leases.update(name, func(l *lease) {
		now := s.clock()
		switch held := l.heldAt(now); {
		case held && l.owner != owner:
			err = fmt.Errorf("acquire lease %q for %q: %w (%q)", name, owner, projection.ErrLeaseHeld, l.owner)
			return
		case !held:
			l.fence++
		}
		l.owner, l.expires = owner, now.Add(ttl)
		granted = l.public(name)
	})
	return granted, err
}

// ReleaseLease implements [projection.LeaseStore].
func (s *Store) ReleaseLease(ctx context.Context, given projection.Lease) error {
	if err := s.begin(ctx, OpReleaseLease, ""); err != nil {
		return err
	}
	s.leases.update(given.Name, func(l *lease) {
		if l.owner == given.Owner && l.fence == given.Fence {
			l.owner = ""
		}
	})
	return nil
}

// Leases implements [projection.LeaseStore].
func (s *Store) Leases(ctx context.Context, prefix string) ([]projection.Lease, error) {
	if err := s.begin(ctx, OpLeases, ""); err != nil {
		return nil, err
	}
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	now := s.clock()
	var held []projection.Lease
	for name, l := range s.leases.rows {
		if strings.HasPrefix(name, prefix) && l.heldAt(now) {
			held = append(held, l.public(name))
		}
	}
	slices.SortFunc(held, func(a, b projection.Lease) int { return cmp.Compare(a.Name, b.Name) })
	return held, nil
}

func (l lease) public(name string) projection.Lease {
	return projection.Lease{Name: name, Owner: l.owner, Fence: l.fence, Expires: l.expires.UTC()}
}

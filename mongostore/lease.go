package mongostore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// Leases is a [projection.LeaseStore] on MongoDB. Time is the server's; after an
// election it is another server's, so a lease may end earlier or later by the
// difference of their clocks. Fencing tokens are what excludes a former holder.
type Leases struct{ store *Store }

var _ projection.LeaseStore = (*Leases)(nil)

// Leases returns the store's leases.
func (s *Store) Leases() *Leases { return &Leases{store: s} }

type leaseRecord struct {
	Name    string    `bson:"_id"`
	Owner   string    `bson:"owner"`
	Fence   int64     `bson:"fence"`
	Expires time.Time `bson:"expires"`
	// Held says of the reply to an acquisition whether it succeeded. Owners may
	// have the same name by mistake; then they share the lease.
	Held bool `bson:"held"`
}

func (r leaseRecord) lease() projection.Lease {
	return projection.Lease{Name: r.Name, Owner: r.Owner, Fence: r.Fence, Expires: r.Expires.UTC()}
}

// AcquireLease implements [projection.LeaseStore].
func (l *Leases) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (projection.Lease, error) {
	s := l.store.enter(ctx)
	defer s.leave()
	switch {
	case name == "":
		return projection.Lease{}, &eventstore.InvalidError{What: "lease name", Reason: "is empty"}
	case owner == "":
		return projection.Lease{}, &eventstore.InvalidError{What: "lease owner", Reason: "is empty"}
	case ttl < time.Millisecond:
		return projection.Lease{}, &eventstore.InvalidError{What: "lease duration", Reason: fmt.Sprintf("is %s; it must be at least a millisecond", ttl)}
	}
	op := fmt.Sprintf("acquire lease %q", name)
	// Names are the callers': $literal keeps one that starts with $ from being
	// read as a field's path.
	me := bson.D{{Key: "$literal", Value: owner}}
	never := time.UnixMilli(0)
	expired := bson.D{{Key: "$lte", Value: bson.A{bson.D{{Key: "$ifNull", Value: bson.A{"$expires", never}}}, "$$NOW"}}}
	mine := bson.D{{Key: "$and", Value: bson.A{
		bson.D{{Key: "$eq", Value: bson.A{"$owner", me}}},
		bson.D{{Key: "$not", Value: bson.A{expired}}},
	}}}
	take := func(then, otherwise any) bson.D {
		return bson.D{{Key: "$cond", Value: bson.A{"$held", then, otherwise}}}
	}
	fence := bson.D{{Key: "$ifNull", Value: bson.A{"$fence", int64(0)}}}
	pipeline := mongo.Pipeline{
		{{Key: "$set", Value: bson.D{
			{Key: "held", Value: bson.D{{Key: "$or", Value: bson.A{mine, expired}}}},
			{Key: "fence", Value: bson.D{{Key: "$cond", Value: bson.A{
				bson.D{{Key: "$and", Value: bson.A{expired}}},
				bson.D{{Key: "$add", Value: bson.A{fence, int64(1)}}},
				fence,
			}}}},
		}}},
		{{Key: "$set", Value: bson.D{
			{Key: "owner", Value: take(me, "$owner")},
			{Key: "expires", Value: take(bson.D{{Key: "$add", Value: bson.A{"$$NOW", ttl.Milliseconds()}}}, "$expires")},
		}}},
	}
	for {
		var r leaseRecord
		err := s.leases.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: name}}, pipeline,
			options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Decode(&r)
		switch {
		case mongo.IsDuplicateKeyError(err) && ctx.Err() == nil:
			continue // somebody else has inserted it first
		case err != nil:
			return projection.Lease{}, s.failed(ctx, op, err)
		case !r.Held:
			return projection.Lease{}, fmt.Errorf("%s: %w: %s until %s", op, projection.ErrLeaseHeld, r.Owner, r.Expires.UTC().Format(time.RFC3339))
		}
		return r.lease(), nil
	}
}

// ReleaseLease implements [projection.LeaseStore]. The document stays, so that
// fencing tokens go on from where they are.
func (l *Leases) ReleaseLease(ctx context.Context, lease projection.Lease) error {
	s := l.store.enter(ctx)
	defer s.leave()
	_, err := s.leases.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: lease.Name}, {Key: "owner", Value: lease.Owner}, {Key: "fence", Value: lease.Fence}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "owner", Value: ""}, {Key: "expires", Value: time.UnixMilli(0)}}}})
	return s.failed(ctx, fmt.Sprintf("release lease %q", lease.Name), err)
}

// Leases implements [projection.LeaseStore].
func (l *Leases) Leases(ctx context.Context, prefix string) ([]projection.Lease, error) {
	s := l.store.enter(ctx)
	defer s.leave()
	filter := bson.D{{Key: "$expr", Value: bson.D{{Key: "$gt", Value: bson.A{"$expires", "$$NOW"}}}}}
	if prefix != "" {
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$regex", Value: "^" + regexp.QuoteMeta(prefix)}}})
	}
	cur, err := s.leases.Find(ctx, filter, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return nil, s.failed(ctx, "list leases", err)
	}
	var records []leaseRecord
	if err := cur.All(ctx, &records); err != nil {
		return nil, s.failed(ctx, "list leases", err)
	}
	leases := make([]projection.Lease, len(records))
	for i, r := range records {
		leases[i] = r.lease()
	}
	return leases, nil
}

func isLeaseHeld(err error) bool { return errors.Is(err, projection.ErrLeaseHeld) }

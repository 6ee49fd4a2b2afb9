package mongostore

import (
	"context"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/mongostore/internal/handover"
)

// A Target is a [Watchable] that may be moved to another client of the same
// deployment while it is watched, as after a change of credentials: [Watch] goes
// on there, behind the last change. It is safe for concurrent use.
type Target struct {
	seat *seat
	of   func(*mongo.Client) Watchable
}

var _ Watchable = (*Target)(nil)

// NewTarget returns what of gives of a client, as in
//
//	NewTarget(client, func(c *mongo.Client) Watchable { return c.Database("shop").Collection("orders") })
//
// The clients are the caller's.
func NewTarget(client *mongo.Client, of func(*mongo.Client) Watchable) *Target {
	return &Target{seat: newSeat(client), of: of}
}

// Rebind moves to another client. The channel is closed when no stream of [Watch]
// uses the old one any more. The function suits client.Client.OnSwap.
func (t *Target) Rebind(client *mongo.Client) (drained <-chan struct{}) { return t.seat.rebind(client) }

// Watch implements [Watchable] on the client of the moment.
func (t *Target) Watch(ctx context.Context, pipeline any, opts ...options.Lister[options.ChangeStreamOptions]) (*mongo.ChangeStream, error) {
	return t.of(t.seat.current.Load().client).Watch(ctx, pipeline, opts...)
}

// A seat holds the client of the moment for something that moves with it.
type seat struct {
	current atomic.Pointer[sitting]
	moving  sync.Mutex
}

type sitting struct {
	client *mongo.Client
	used   handover.Use
}

func newSeat(client *mongo.Client) *seat {
	s := &seat{}
	s.current.Store(&sitting{client: client})
	return s
}

// enter returns the sitting of the moment, which is in use until its used.Leave.
func (s *seat) enter() *sitting {
	for {
		if on := s.current.Load(); on.used.Enter() {
			return on
		}
	}
}

func (s *seat) rebind(client *mongo.Client) (drained <-chan struct{}) {
	s.moving.Lock()
	defer s.moving.Unlock()
	old := s.current.Load()
	if old.client == client {
		return handover.Nothing()
	}
	s.current.Store(&sitting{client: client})
	return old.used.Retire()
}

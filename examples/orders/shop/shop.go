// Package shop puts the example together: which events there are, where orders
// and articles are kept, and which projections run.
package shop

import (
	"context"
	"errors"
	"log/slog"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/fulfilment"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/readmodel"
	"github.com/annals-es/annals/examples/orders/stock"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/snapshot"
)

// Registry returns all event types of the shop.
func Registry() *eventstore.Registry {
	return eventstore.MustRegistry(append(order.Types(), stock.Types()...)...)
}

// Stores is what the shop keeps things in.
type Stores struct {
	Events      eventstore.EventStore
	Snapshots   snapshot.Store
	Checkpoints projection.CheckpointStore
	Models      readmodel.Models
}

// A Shop takes commands and keeps read models.
type Shop struct {
	Events   eventstore.EventStore
	Orders   *aggregate.Repository[order.State, order.Command, order.Event]
	Articles *aggregate.Repository[*stock.Article, func(*stock.Article) error, stock.Event]
	Models   readmodel.Models

	runners map[string]*projection.Runner
}

// New returns a shop on stores. Its projections run while Run does.
func New(stores Stores, logger *slog.Logger) (*Shop, error) {
	registry := Registry()
	orders, err := aggregate.NewRepository(stores.Events, registry, order.Decider(), aggregate.Config[order.State]{
		Category:  order.Category,
		Snapshots: stores.Snapshots,
		CacheSize: 1_000,
		Clone:     aggregate.Unchanged[order.State], // evolve clones what it changes
		Logger:    logger,
	})
	if err != nil {
		return nil, err
	}
	articles, err := aggregate.NewRootRepository(stores.Events, registry, stock.New, aggregate.Config[*stock.Article]{
		Category:       stock.Category,
		Snapshots:      stores.Snapshots,
		SnapshotPolicy: snapshot.Every(50),
		CacheSize:      1_000,
		Clone:          (*stock.Article).Clone,
		Logger:         logger,
	})
	if err != nil {
		return nil, err
	}
	s := &Shop{Events: stores.Events, Orders: orders, Articles: articles, Models: stores.Models, runners: map[string]*projection.Runner{}}
	for _, p := range append(readmodel.Projections(s.Models), fulfilment.Projection(orders, articles)) {
		r, err := projection.NewRunner(stores.Events, registry, stores.Checkpoints, p, projection.Config{Logger: logger})
		if err != nil {
			return nil, err
		}
		s.runners[p.Name] = r
	}
	return s, nil
}

// Run runs the projections until ctx is cancelled or one of them fails.
func (s *Shop) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(s.runners))
	for _, r := range s.runners {
		go func() {
			err := r.Run(ctx)
			if err != nil {
				cancel() // the others need not go on without it
			}
			errs <- err
		}()
	}
	var all error
	for range s.runners {
		all = errors.Join(all, <-errs)
	}
	return all
}

// WaitUntil waits until all projections have applied everything up to a position
// of the log.
func (s *Shop) WaitUntil(ctx context.Context, position eventstore.Position) error {
	for _, r := range s.runners {
		if err := r.WaitUntil(ctx, position); err != nil {
			return err
		}
	}
	return nil
}

// Lags returns for each projection a function that tells how many positions it
// is behind the log.
func (s *Shop) Lags() map[string]func(context.Context) (int64, error) {
	lags := map[string]func(context.Context) (int64, error){}
	for name, r := range s.runners {
		lags[name] = func(ctx context.Context) (int64, error) {
			status, err := r.Status(ctx)
			return status.Lag, err
		}
	}
	return lags
}

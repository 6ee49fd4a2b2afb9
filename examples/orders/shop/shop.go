// Package shop puts the example together: which events there are, where orders
// and articles are kept, and which projections run.
package shop

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/fulfilment"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/readmodel"
	"github.com/annals-es/annals/examples/orders/stock"
	"github.com/annals-es/annals/process"
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
	// Backend is what the fulfilment process is kept in.
	Backend projection.Backend
	// PayWithin is how long customers have to pay; a week when zero.
	PayWithin time.Duration
}

// A Shop takes commands and keeps read models.
type Shop struct {
	Events   eventstore.EventStore
	Orders   *aggregate.Repository[order.State, order.Command, order.Event]
	Articles *aggregate.Repository[*stock.Article, func(*stock.Article) error, stock.Event]
	Models   readmodel.Models

	runners    map[string]*projection.Runner
	worker     *projection.Worker
	control    *projection.Control
	fulfilment process.Manager[fulfilment.State]
	backend    projection.Backend
	resolver   *projection.Resolver
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
	s := &Shop{
		Events: stores.Events, Orders: orders, Articles: articles, Models: stores.Models,
		runners:    map[string]*projection.Runner{},
		control:    projection.NewControl(stores.Events, stores.Backend),
		fulfilment: fulfilment.Manager(orders, articles, cmp.Or(stores.PayWithin, 7*24*time.Hour)),
		backend:    stores.Backend,
		resolver:   projection.NewResolver(stores.Backend, 0),
	}
	s.worker, err = projection.NewWorker(stores.Events, registry, stores.Backend, projection.WorkerConfig{Logger: logger}, s.fulfilment)
	if err != nil {
		return nil, err
	}
	for _, p := range readmodel.Projections(s.Models) {
		r, err := projection.NewRunner(stores.Events, registry, stores.Checkpoints, p, projection.Config{Logger: logger})
		if err != nil {
			return nil, err
		}
		s.runners[p.Name] = r
	}
	return s, nil
}

// Run runs the projections and the fulfilment process until ctx is cancelled or
// one of them fails.
func (s *Shop) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := []func(context.Context) error{s.worker.Run}
	for _, r := range s.runners {
		all = append(all, r.Run)
	}
	errs := make(chan error, len(all))
	for _, run := range all {
		go func() {
			err := run(ctx)
			if err != nil {
				cancel() // the others need not go on without it
			}
			errs <- err
		}()
	}
	var failed error
	for range all {
		failed = errors.Join(failed, <-errs)
	}
	return failed
}

// WaitUntil waits until all read models show everything up to a position of the
// log.
func (s *Shop) WaitUntil(ctx context.Context, position eventstore.Position) error {
	for _, r := range s.runners {
		if err := r.WaitUntil(ctx, position); err != nil {
			return err
		}
	}
	return nil
}

// Settle is WaitUntil that also waits until the fulfilment process has done what
// it wants done because of that.
func (s *Shop) Settle(ctx context.Context, position eventstore.Position) error {
	if err := s.control.WaitUntil(ctx, fulfilment.Name, 0, position); err != nil {
		return err
	}
	for {
		left, err := process.Pending(ctx, s.fulfilment, s.backend, s.resolver, 1)
		switch {
		case err == nil && len(left) == 0:
			return s.WaitUntil(ctx, position)
		case err != nil && !errors.Is(err, projection.ErrNotBuilt):
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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
	lags[fulfilment.Name] = func(ctx context.Context) (int64, error) {
		status, err := s.control.Status(ctx, fulfilment.Name)
		return status.Version(status.Current).Lag, err
	}
	return lags
}

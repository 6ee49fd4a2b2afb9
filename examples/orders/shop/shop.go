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
	Events    eventstore.EventStore
	Snapshots snapshot.Store
	// Backend is what the read models and the fulfilment process are kept in.
	Backend projection.Backend
	Models  readmodel.Models
	// PayWithin is how long customers have to pay; a week when zero.
	PayWithin time.Duration
}

// A Shop takes commands and keeps read models.
type Shop struct {
	Events   eventstore.EventStore
	Orders   *aggregate.Repository[order.State, order.Command, order.Event]
	Articles *aggregate.Repository[*stock.Article, func(*stock.Article) error, stock.Event]
	Models   readmodel.Models

	worker     *projection.Worker
	control    *projection.Control
	fulfilment process.Manager[fulfilment.State]
	backend    projection.Backend
	resolver   *projection.Resolver
}

// New returns a shop on stores.
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
	process := fulfilment.Manager(orders, articles, cmp.Or(stores.PayWithin, 7*24*time.Hour))
	worker, err := projection.NewWorker(stores.Events, registry, stores.Backend, projection.WorkerConfig{Logger: logger},
		readmodel.Orders(), readmodel.Stock(), process)
	if err != nil {
		return nil, err
	}
	return &Shop{
		Events: stores.Events, Orders: orders, Articles: articles, Models: stores.Models,
		worker:     worker,
		control:    projection.NewControl(stores.Events, stores.Backend),
		fulfilment: process,
		backend:    stores.Backend,
		resolver:   projection.NewResolver(stores.Backend, 0),
	}, nil
}

// Work keeps the read models up to date and runs the fulfilment process, until
// ctx is cancelled. Any number of processes may do so on the same stores: they
// share the work, and what one leaves the others take over. Commands and questions
// need nobody to work in their own process.
func (s *Shop) Work(ctx context.Context) error { return s.worker.Run(ctx) }

// projections are the names of what Work runs.
func projections() []string {
	return []string{readmodel.Orders().Name, readmodel.Stock().Name, fulfilment.Name}
}

// WaitUntil waits until all read models show everything up to a position of the
// log.
func (s *Shop) WaitUntil(ctx context.Context, position eventstore.Position) error {
	for _, name := range []string{readmodel.Orders().Name, readmodel.Stock().Name} {
		if err := s.control.WaitUntil(ctx, name, 0, position); err != nil {
			return err
		}
		err := until(ctx, func() (bool, error) {
			_, _, err := s.resolver.Model(ctx, name)
			return built(err)
		})
		if err != nil {
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
	err := until(ctx, func() (bool, error) {
		left, err := process.Pending(ctx, s.fulfilment, s.backend, s.resolver, 1)
		done, err := built(err)
		return done && len(left) == 0, err
	})
	if err != nil {
		return err
	}
	return s.WaitUntil(ctx, position)
}

// built takes the error of a question for no error while the answer is being
// built.
func built(err error) (bool, error) {
	if errors.Is(err, projection.ErrNotBuilt) {
		return false, nil
	}
	return err == nil, err
}

// until asks again and again until the answer is yes.
func until(ctx context.Context, yes func() (bool, error)) error {
	for {
		if done, err := yes(); done || err != nil {
			return err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Lags returns for each projection a function that tells how many positions what
// readers see is behind the log, whichever processes run it.
func (s *Shop) Lags() map[string]func(context.Context) (int64, error) {
	lags := map[string]func(context.Context) (int64, error){}
	for _, name := range projections() {
		lags[name] = func(ctx context.Context) (int64, error) {
			status, err := s.control.Status(ctx, name)
			if err == nil && status.Current == 0 {
				err = projection.ErrNotBuilt
			}
			return status.Version(status.Current).Lag, err
		}
	}
	return lags
}

// Control steers the projections and tells how they are doing.
func (s *Shop) Control() *projection.Control { return s.control }

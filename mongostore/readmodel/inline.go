package readmodel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
)

// Inline is an event store whose appends fold their events into read models in
// the same transaction: whoever sees the events sees the documents. It is for
// what must never lag, and costs what it says: each append is a transaction of its
// own, and appends that change the same document wait for each other by trying
// again. Where a lag of milliseconds is fine, run a worker.
//
// Every append must go through it, in all processes, or its events are missing
// from the models until [Inline.Rebuild]. An event comes without its
// position, which it does not have yet.
//
// A handler's error has the append fail with [eventstore.ErrNotWritten] and a
// [*projection.HandlerError]; a document that cannot be written likewise, with a
// [*projection.DocumentError].
//
// Events of one stream are folded in their order. Those of different streams that
// change the same document are folded in the order of their commits, which is the
// log's unless the log had to be recovered meanwhile, or one of them leaves the
// document as it was. So let what a document becomes of the events of different
// streams not depend on which came first.
type Inline struct {
	eventstore.EventStore

	backend *Backend
	models  []inlineModel
}

type inlineModel struct {
	plan *projection.Plan
	name string
}

// Inline returns the backend's event store with inline projections: definitions
// that do nothing but to write documents, such as [projection.Fold]. The database
// is on the event store's deployment.
//
// Their models are those of generation 0 of their versions. No worker runs them,
// so promotion and the like do not concern them; [Inline.Collection] finds them.
func (b *Backend) Inline(ctx context.Context, registry *eventstore.Registry, definitions ...projection.Definition) (*Inline, error) {
	in := &Inline{EventStore: b.store, backend: b}
	for _, d := range definitions {
		plan, err := d.Plan(registry)
		if err == nil {
			err = plan.Check()
		}
		if err != nil {
			return nil, err
		}
		nothing := func(context.Context, []projection.Change, int) error { return nil }
		if err := plan.FoldInto(ctx, plan.Name, nil, nil, nothing); err != nil {
			return nil, err
		}
		m := inlineModel{plan: plan, name: projection.ModelName(plan.Name, plan.Version, 0)}
		coll, err := b.collectionOf(m.name)
		if err != nil {
			return nil, err
		}
		if err := b.make(ctx, coll); err != nil {
			return nil, err
		}
		in.models = append(in.models, m)
	}
	return in, nil
}

// Collection returns the collection of an inline projection.
func (in *Inline) Collection(name string) (*mongo.Collection, error) {
	for _, m := range in.models {
		if m.plan.Name == name {
			return in.backend.Model(m.name)
		}
	}
	return nil, invalid("projection "+name, "is not an inline one of this store")
}

// Append implements [eventstore.Appender]. Within a caller's transaction (see
// [mongostore.WithTransaction]) it takes part in that.
func (in *Inline) Append(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	// Events keep their ids and times over all attempts.
	req, err := eventstore.Prepare(ctx, req, time.Now())
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	a := &inlineAppend{in: in, req: req}
	if inTransaction(ctx) {
		err := a.attempt(ctx)
		return a.res, err
	}
	a.nameIt()
	run, _, done, err := in.backend.begin(ctx)
	if err != nil {
		return eventstore.AppendResult{}, eventstore.NotWritten(err)
	}
	defer done()
	sess := mongo.SessionFromContext(run)
	for range 2 {
		err = mongostore.TransactIn(run, sess, a.attempt)
		in.backend.observe(sess)
		if !errors.Is(err, errNarrow) {
			break
		}
		a.narrow = true
	}
	if err != nil {
		return eventstore.AppendResult{}, a.failed(ctx, err)
	}
	return a.res, nil
}

// An inlineAppend is an append on its way.
type inlineAppend struct {
	in       *Inline
	req      eventstore.AppendRequest
	res      eventstore.AppendResult
	named    bool // the id is ours
	attempts int
	narrow   bool
}

// nameIt gives an append an id that could otherwise not be recognised when its
// commit's answer is lost.
func (a *inlineAppend) nameIt() {
	if a.req.ID != (eventstore.AppendID{}) {
		return
	}
	for _, s := range a.req.Streams {
		if _, exact := s.Expected.Version(); !exact && len(s.Events) > 0 {
			a.req.ID, a.named = eventstore.NewEventID(), true
			return
		}
	}
}

// attempt appends and folds in the transaction that ctx carries.
func (a *inlineAppend) attempt(ctx context.Context) error {
	a.attempts++
	res, err := a.in.backend.store.Append(ctx, a.req)
	if err != nil {
		return err
	}
	a.res = res
	if res.Duplicate {
		// An attempt before was committed after all, and nobody else knows the id.
		a.res.Duplicate = !a.named
		return nil
	}
	events := a.events()
	if len(events) == 0 {
		return nil
	}
	for _, m := range a.in.models {
		load := func(ctx context.Context, keys []string) ([]projection.Document, error) {
			return a.in.backend.LoadDocuments(ctx, m.name, keys)
		}
		if err := m.plan.FoldInto(ctx, m.name, events, load, a.write); err != nil {
			return err
		}
	}
	return nil
}

// write makes changes in the transaction that ctx carries.
func (a *inlineAppend) write(ctx context.Context, changes []projection.Change, _ int) error {
	most := maxStatements
	if a.narrow {
		most = 1
	}
	p, err := a.in.backend.plan(changes, most, true)
	if err != nil {
		return err
	}
	db := a.in.backend.boundTo(ctx).db
	for _, c := range p.commands {
		err := send(ctx, db, c, a.narrow)
		if errors.Is(err, errNotNew) { // another append has made it: the next attempt sees it
			err = &transientError{err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// events returns the appended events as they will be read.
func (a *inlineAppend) events() []eventstore.Event {
	var events []eventstore.Event
	for i, s := range a.req.Streams {
		for j, e := range s.Events {
			events = append(events, eventstore.Event{
				ID: e.ID, Stream: s.Stream, Version: a.res.Streams[i].First + eventstore.Version(j),
				Type: e.Type, Schema: e.Schema, Format: e.Format, Data: e.Data, Metadata: e.Metadata, Time: e.Time,
			})
		}
	}
	return events
}

// failed marks an error with what is known of the outcome. Only a commit's
// outcome can be unknown, and it says so.
func (a *inlineAppend) failed(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*projection.HandlerError](err); ok {
		return eventstore.NotWritten(err)
	}
	unknown := errors.Is(err, eventstore.ErrOutcomeUnknown)
	err = a.in.backend.failed(ctx, fmt.Sprintf("append to %q", a.req.Streams[0].Stream), err)
	if unknown {
		return eventstore.OutcomeUnknown(err)
	}
	return eventstore.NotWritten(err)
}

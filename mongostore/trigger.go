package mongostore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// A Trigger starts something when documents of a collection change in a certain
// way.
type Trigger struct {
	// Name is the trigger's own, under which its place is kept. Required.
	Name string
	// Collection is what is watched. Required.
	Collection string
	// Operations are those that count; Insert, Update and Replace when empty.
	Operations []Operation
	// Filter is what the document must match after the change, in MongoDB's query
	// language, as in {status: "pending"}. Empty matches every document. Of an
	// update it is the document as it is when the change is read.
	Filter bson.D
	// Run is what the trigger starts. It is called for one change after the
	// other, at least once for each: after a crash the last ones come again. While
	// it returns an error it is called again, with growing pauses, and what comes
	// later waits. A panic is an error, a [*projection.PanicError]. Required.
	Run func(ctx context.Context, change Change[bson.Raw]) error
	// Attempts bounds how often a change is tried; 0 is without end. What failed
	// that often goes to the manager's Failed.
	Attempts int
}

// A TriggerManager runs triggers on a database. Set its fields before Run.
type TriggerManager struct {
	Database *mongo.Database
	Triggers []Trigger
	// Tokens keeps the triggers' places; nil makes each Run start from now.
	Tokens TokenStore
	// Failed is called with a change that a trigger has failed on for all its
	// attempts. A nil Failed, or an error of it, ends Run.
	Failed func(ctx context.Context, trigger string, change Change[bson.Raw], err error) error
	// Reauthenticate is as in [WatchConfig].
	Reauthenticate func(context.Context) error
	// Logger is told of failed attempts; nil for nobody.
	Logger *slog.Logger

	once sync.Once
	seat *seat
}

// Rebind moves the triggers to another client of the same deployment, also while
// they run; Tokens are moved by themselves. The channel is closed when the old
// client is no longer in use. The function suits client.Client.OnSwap. Database
// must be set.
func (m *TriggerManager) Rebind(client *mongo.Client) (drained <-chan struct{}) {
	return m.sit().rebind(client)
}

func (m *TriggerManager) sit() *seat {
	m.once.Do(func() { m.seat = newSeat(m.Database.Client()) })
	return m.seat
}

// target is what a trigger watches.
func (m *TriggerManager) target(t Trigger) *Target {
	return &Target{seat: m.sit(), of: func(client *mongo.Client) Watchable {
		db := m.Database
		if db.Client() != client {
			db = client.Database(db.Name())
		}
		return db.Collection(t.Collection)
	}}
}

// Run runs all triggers until ctx ends or one of them cannot go on, and returns
// why. Two managers with the same triggers both run them: give the work to one,
// for instance by a lease.
func (m *TriggerManager) Run(ctx context.Context) error {
	if err := m.validate(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range m.Triggers {
		g.Go(func() error {
			if err := m.follow(ctx, t); err != nil {
				return fmt.Errorf("trigger %s: %w", t.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (m *TriggerManager) validate() error {
	invalid := func(format string, args ...any) error {
		return &eventstore.InvalidError{What: "trigger", Reason: fmt.Sprintf(format, args...)}
	}
	if m.Database == nil {
		return invalid("manager has no Database")
	}
	names := map[string]bool{}
	for i, t := range m.Triggers {
		switch {
		case t.Name == "":
			return invalid("number %d has no Name", i+1)
		case names[t.Name]:
			return invalid("%s is there twice", t.Name)
		case t.Collection == "":
			return invalid("%s has no Collection", t.Name)
		case t.Run == nil:
			return invalid("%s has no Run", t.Name)
		case t.Attempts < 0:
			return invalid("%s has a negative number of Attempts", t.Name)
		}
		if _, err := t.pipeline(); err != nil {
			return invalid("%s has a Filter that cannot be encoded: %v", t.Name, err)
		}
		names[t.Name] = true
	}
	return nil
}

// pipeline selects the changes that concern a trigger.
func (t *Trigger) pipeline() (mongo.Pipeline, error) {
	operations := bson.A{string(Insert), string(Update), string(Replace)}
	if len(t.Operations) > 0 {
		operations = bson.A{}
		for _, o := range t.Operations {
			operations = append(operations, string(o))
		}
	}
	p := mongo.Pipeline{{{Key: "$match", Value: bson.D{{Key: "operationType", Value: bson.D{{Key: "$in", Value: append(operations, string(Invalidate))}}}}}}}
	if len(t.Filter) == 0 {
		return p, nil
	}
	filter, err := inPlainTypes(t.Filter)
	if err != nil {
		return nil, err
	}
	matches := bson.A{}
	for _, e := range onDocument(filter) {
		matches = append(matches, bson.D{e})
	}
	return append(p, bson.D{{Key: "$match", Value: bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: "operationType", Value: string(Invalidate)}},
		bson.D{{Key: "$and", Value: matches}},
	}}}}}), nil
}

// inPlainTypes returns a filter as a document of documents and arrays, whatever Go
// types it is written in.
func inPlainTypes(filter bson.D) (plain bson.D, err error) {
	data, err := bson.Marshal(filter)
	if err == nil {
		err = bson.Unmarshal(data, &plain)
	}
	return plain, err
}

// onDocument moves a filter on a document to a filter on the change that carries
// it: fields get a prefix, also inside $and, $or and $nor. The filter is one of
// inPlainTypes.
func onDocument(filter bson.D) bson.D {
	out := make(bson.D, 0, len(filter))
	for _, e := range filter {
		switch {
		case e.Key == "$and" || e.Key == "$or" || e.Key == "$nor":
			branches := bson.A{}
			list, _ := e.Value.(bson.A)
			for _, b := range list {
				if d, ok := b.(bson.D); ok {
					b = onDocument(d)
				}
				branches = append(branches, b)
			}
			out = append(out, bson.E{Key: e.Key, Value: branches})
		case len(e.Key) > 0 && e.Key[0] == '$': // $expr and $comment stand for themselves
			out = append(out, e)
		default:
			out = append(out, bson.E{Key: "fullDocument." + e.Key, Value: e.Value})
		}
	}
	return out
}

func (m *TriggerManager) follow(ctx context.Context, t Trigger) error {
	pipeline, err := t.pipeline()
	if err != nil {
		return err
	}
	cfg := WatchConfig{Pipeline: pipeline, FullDocument: true, Tokens: m.Tokens, Name: t.Name, Buffer: 16, Reauthenticate: m.Reauthenticate}
	for change, err := range Watch[bson.Raw](ctx, m.target(t), cfg) {
		if err != nil {
			return err
		}
		if change.Operation == Invalidate {
			continue
		}
		if err := m.handle(ctx, t, change); err != nil {
			return err
		}
	}
	return nil
}

func (m *TriggerManager) handle(ctx context.Context, t Trigger, change Change[bson.Raw]) error {
	for attempt := 1; ; attempt++ {
		err := t.try(ctx, change)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if m.Logger != nil {
			m.Logger.WarnContext(ctx, "trigger failed", slog.String("trigger", t.Name), slog.Int("attempt", attempt), slog.Any("error", err))
		}
		if t.Attempts > 0 && attempt >= t.Attempts {
			if m.Failed == nil {
				return fmt.Errorf("failed %d times: %w", attempt, err)
			}
			return m.Failed(ctx, t.Name, change, err)
		}
		if !pause(ctx, attempt, 30*time.Second) {
			return ctx.Err()
		}
	}
}

// try calls Run. A panic would end the process, and meet the same change again in
// the next one.
func (t *Trigger) try(ctx context.Context, change Change[bson.Raw]) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &projection.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return t.Run(ctx, change)
}

package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

// An Operation is what a change did.
type Operation string

// Operations, as the server names them.
const (
	Insert       Operation = "insert"
	Update       Operation = "update"
	Replace      Operation = "replace"
	Delete       Operation = "delete"
	Drop         Operation = "drop"
	Rename       Operation = "rename"
	DropDatabase Operation = "dropDatabase"
	// Invalidate is the last change of a stream: what it watched was dropped or
	// renamed. [Watch] goes on behind it.
	Invalidate Operation = "invalidate"
)

// A Namespace names a collection.
type Namespace struct {
	Database   string `bson:"db"`
	Collection string `bson:"coll"`
}

// A Change is one change of a document, collection or database.
type Change[T any] struct {
	Operation Operation
	Namespace Namespace
	// To is the new name, of a Rename.
	To Namespace
	// Key holds the document's _id, and its shard key where there is one.
	Key bson.Raw
	// Document is the document after the change: always of Insert and Replace,
	// of Update only with [WatchConfig.FullDocument] and if it still exists.
	Document *T
	// Updated and Removed describe an Update.
	Updated bson.Raw
	Removed []string
	// Time is the cluster's time of the change. Changes of one transaction share
	// it.
	Time bson.Timestamp
	// Token resumes a stream behind this change.
	Token bson.Raw
}

// A TokenStore keeps the place of a stream of changes over restarts.
type TokenStore interface {
	// LoadToken returns nil when there is none.
	LoadToken(ctx context.Context, name string) (bson.Raw, error)
	SaveToken(ctx context.Context, name string, token bson.Raw) error
}

// WatchConfig says how to watch. The zero value watches from now on and forgets
// its place.
type WatchConfig struct {
	// Pipeline filters and shapes changes; see MongoDB's $changeStream for what
	// it may hold.
	Pipeline mongo.Pipeline
	// FullDocument makes an Update carry the document as it is when the change
	// is read, which may be later than the change.
	FullDocument bool
	// Tokens keeps the stream's place under Name, nil for nowhere. A place is
	// saved when the consumer asks for the next change, so after a crash the
	// last one comes again. Saving is limited to once in SaveEvery, one second by
	// default, and happens at the end as well.
	Tokens    TokenStore
	Name      string
	SaveEvery time.Duration
	// Buffer is the number of changes read ahead, 64 by default. When it is full,
	// the server is not asked for more.
	Buffer int
	// Reauthenticate is called when the server has refused the credentials, and
	// returns nil when the target was moved to a client with new ones, as
	// client.Client.Refresh does: see [Target]. Watching ends when it is nil.
	Reauthenticate func(context.Context) error
}

// A Watchable is a *mongo.Collection, *mongo.Database or *mongo.Client (for the
// whole deployment), or a [Target] that is one of them on changing clients.
type Watchable interface {
	Watch(ctx context.Context, pipeline any, opts ...options.Lister[options.ChangeStreamOptions]) (*mongo.ChangeStream, error)
}

// Watch yields the changes of a collection, database or deployment in the order
// of their commits, from the saved place or from now on.
//
// Connections lost and elections are ridden out: it resumes behind the last
// change. After an Invalidate it goes on with the collection of the same name that
// may come into being. It ends with an error, the last pair: the context's; one
// that matches [ErrHistoryLost] when the oplog no longer reaches back to the
// place; one that matches [ErrBSON] for a document that is no T; whatever the
// TokenStore returned, unless that passes by itself. Breaking out releases everything.
func Watch[T any](ctx context.Context, target Watchable, cfg WatchConfig) iter.Seq2[Change[T], error] {
	return func(yield func(Change[T], error) bool) {
		if cfg.Buffer <= 0 {
			cfg.Buffer = 64
		}
		if cfg.SaveEvery <= 0 {
			cfg.SaveEvery = time.Second
		}
		if cfg.Tokens != nil && cfg.Name == "" {
			yield(Change[T]{}, &eventstore.InvalidError{What: "WatchConfig.Name", Reason: "is empty; give the place a name to be saved under"})
			return
		}
		w := &watcher{target: target, cfg: cfg}
		if err := watchLoop(ctx, w, yield); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			yield(Change[T]{}, wrap("watch", err))
		}
	}
}

// watchLoop hands changes to yield until it has had enough, which is no error.
func watchLoop[T any](ctx context.Context, w *watcher, yield func(Change[T], error) bool) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	run, cancel := context.WithCancel(ctx)
	raws := make(chan rawChange, w.cfg.Buffer)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(raws)
		if err := w.read(run, raws); err != nil {
			select {
			case raws <- rawChange{err: err}:
			case <-run.Done():
			}
		}
	})
	defer reading.Wait()
	defer cancel()
	place := placeKeeper{cfg: w.cfg, saved: time.Now()}
	for raw := range raws {
		if raw.err != nil {
			return errors.Join(raw.err, place.flush(ctx))
		}
		if raw.idle {
			if err := place.reached(ctx, raw.token); err != nil {
				return err
			}
			continue
		}
		change, err := decodeWatched[T](raw.doc)
		if err != nil {
			return errors.Join(err, place.flush(ctx))
		}
		change.Token = raw.token
		if !yield(change, nil) {
			_ = place.flush(ctx)
			return nil
		}
		if err := place.reached(ctx, raw.token); err != nil {
			return err
		}
	}
	return errors.Join(ctx.Err(), place.flush(ctx))
}

// A placeKeeper saves how far the consumer has come.
type placeKeeper struct {
	cfg   WatchConfig
	token bson.Raw // not saved yet
	saved time.Time
}

func (p *placeKeeper) reached(ctx context.Context, token bson.Raw) error {
	p.token = token
	if time.Since(p.saved) < p.cfg.SaveEvery {
		return nil
	}
	err := p.flush(ctx)
	if err != nil && ctx.Err() == nil && (isRetryable(err) || p.cfg.reauthenticated(ctx, err)) {
		p.token = token // it will be saved with the next one
		return nil
	}
	return err
}

// flush saves the place also when the context has ended.
func (p *placeKeeper) flush(ctx context.Context) error {
	if p.cfg.Tokens == nil || p.token == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	token := p.token
	p.token, p.saved = nil, time.Now()
	if err := p.cfg.Tokens.SaveToken(ctx, p.cfg.Name, token); err != nil {
		return fmt.Errorf("save the place of %q: %w", p.cfg.Name, err)
	}
	return nil
}

type rawChange struct {
	doc   bson.Raw
	token bson.Raw
	idle  bool // there is nothing, but the place has moved on
	err   error
}

// A watcher reads a change stream and opens it again when it breaks.
type watcher struct {
	target Watchable
	cfg    WatchConfig
	place  bson.Raw // behind the last change read
	ended  bool     // place is an Invalidate
}

func (w *watcher) load(ctx context.Context) error {
	if w.cfg.Tokens == nil {
		return nil
	}
	token, err := w.cfg.Tokens.LoadToken(ctx, w.cfg.Name)
	if err != nil {
		return fmt.Errorf("load the place of %q: %w", w.cfg.Name, err)
	}
	w.place = token
	// Whether it was an Invalidate is not known; startAfter takes both.
	w.ended = token != nil
	return nil
}

// reauthenticated reports whether credentials were refused and new ones have been
// got since.
func (c *WatchConfig) reauthenticated(ctx context.Context, err error) bool {
	return c.Reauthenticate != nil && isRefused(err) && c.Reauthenticate(ctx) == nil
}

// enter returns what to open a stream on, which is in use until leave, and whether
// it has moved since.
func (w *watcher) enter() (target Watchable, leave func(), moved func() bool) {
	t, ok := w.target.(*Target)
	if !ok {
		return w.target, func() {}, func() bool { return false }
	}
	on := t.seat.enter()
	return t.of(on.client), on.used.Leave, on.used.Retired
}

func (w *watcher) open(ctx context.Context, target Watchable) (*mongo.ChangeStream, error) {
	opts := options.ChangeStream().SetMaxAwaitTime(awaitTime)
	if w.cfg.FullDocument {
		opts.SetFullDocument(options.UpdateLookup)
	}
	switch {
	case w.place == nil:
	case w.ended:
		opts.SetStartAfter(w.place)
	default:
		opts.SetResumeAfter(w.place)
	}
	pipeline := w.cfg.Pipeline
	if pipeline == nil {
		pipeline = mongo.Pipeline{}
	}
	return target.Watch(ctx, pipeline, opts)
}

// read sends changes until ctx ends or the stream cannot be continued.
func (w *watcher) read(ctx context.Context, out chan<- rawChange) error {
	for attempt := 0; ; attempt++ {
		before := w.place
		target, leave, moved := w.enter()
		err := w.readOnce(ctx, target, moved, out)
		leave()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !isRetryable(err) && !moved() && !w.cfg.reauthenticated(ctx, err) {
			return err
		}
		if string(before) != string(w.place) {
			attempt = 0
		}
		if !pause(ctx, attempt, 5*time.Second) {
			return ctx.Err()
		}
	}
}

// readOnce reads one change stream to its end, or until its target has moved.
func (w *watcher) readOnce(ctx context.Context, target Watchable, moved func() bool, out chan<- rawChange) error {
	cs, err := w.open(ctx, target)
	if err != nil {
		return err
	}
	defer closeChangeStream(ctx, cs)
	for w.place == nil || !moved() {
		change := rawChange{}
		switch {
		case cs.TryNext(ctx):
			change.doc = slices.Clone(cs.Current)
			change.token = slices.Clone(cs.ResumeToken())
		case cs.Err() != nil:
			return cs.Err()
		case cs.ID() == 0:
			return nil
		default:
			change.idle = true
			change.token = slices.Clone(cs.ResumeToken())
			if change.token == nil || w.ended {
				continue
			}
		}
		if !change.idle {
			op, _ := change.doc.Lookup("operationType").StringValueOK()
			w.ended = Operation(op) == Invalidate
		}
		w.place = change.token
		select {
		case out <- change:
		case <-ctx.Done():
			return ctx.Err()
		}
		if w.ended {
			return nil // opened again behind it
		}
	}
	return nil // opened again on the other client
}

func decodeWatched[T any](doc bson.Raw) (c Change[T], err error) {
	var fields struct {
		Operation Operation      `bson:"operationType"`
		Namespace Namespace      `bson:"ns"`
		To        Namespace      `bson:"to"`
		Key       bson.Raw       `bson:"documentKey"`
		Document  bson.RawValue  `bson:"fullDocument"`
		Time      bson.Timestamp `bson:"clusterTime"`
		Update    struct {
			Updated bson.Raw `bson:"updatedFields"`
			Removed []string `bson:"removedFields"`
		} `bson:"updateDescription"`
	}
	if err := bson.Unmarshal(doc, &fields); err != nil {
		return c, &Error{Op: "read a change", Kind: ErrDeserialize, Outcome: WrittenNothing, Err: err}
	}
	c = Change[T]{
		Operation: fields.Operation, Namespace: fields.Namespace, To: fields.To, Key: fields.Key,
		Time: fields.Time, Updated: fields.Update.Updated, Removed: fields.Update.Removed,
	}
	if full, ok := fields.Document.DocumentOK(); ok {
		c.Document = new(T)
		if err := bson.Unmarshal(full, c.Document); err != nil {
			return c, &Error{Op: fmt.Sprintf("read a changed document of %s.%s", c.Namespace.Database, c.Namespace.Collection), Kind: ErrDeserialize, Outcome: WrittenNothing, Err: err}
		}
	}
	return c, nil
}

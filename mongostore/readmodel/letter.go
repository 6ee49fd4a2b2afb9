package readmodel

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// lettersName is the collection of dead letters. The order of a letter's _id is
// that in which letters are listed.
const lettersName = "dead_letters"

const (
	// maxInline is the size of event data above which it has a document of its
	// own: a letter must not be what does not fit.
	maxInline = 12 << 20
	// maxReason is the size of an error's text that is kept.
	maxReason = 64 << 10
)

type letterID struct {
	Projection string `bson:"projection"`
	Version    int64  `bson:"version"`
	Position   int64  `bson:"position"`
	Key        string `bson:"key"`
}

// dataID is the _id of the document that holds a large event's data. It sorts
// apart from letters.
type dataID struct {
	Of letterID `bson:"data_of"`
}

type letterRecord struct {
	ID       letterID    `bson:"_id"`
	Event    eventRecord `bson:"event"`
	Error    string      `bson:"error"`
	Attempts int         `bson:"attempts"`
	First    time.Time   `bson:"first"`
	Last     time.Time   `bson:"last"`
}

// An eventRecord is an event as it was read. Its data is kept as bytes: whatever
// is wrong with the event must not keep it from being parked.
type eventRecord struct {
	ID       eventstore.EventID   `bson:"id"`
	Stream   eventstore.StreamID  `bson:"stream"`
	Version  eventstore.Version   `bson:"version"`
	Type     eventstore.EventType `bson:"type"`
	Schema   int                  `bson:"schema"`
	Format   eventstore.Format    `bson:"format"`
	Data     []byte               `bson:"data"`
	Apart    bool                 `bson:"apart,omitempty"`
	Metadata *eventstoreMetadata  `bson:"metadata,omitempty"`
	Time     time.Time            `bson:"time"`
	Position eventstore.Position  `bson:"position"`
}

type eventstoreMetadata struct {
	CorrelationID string            `bson:"correlation_id,omitempty"`
	CausationID   string            `bson:"causation_id,omitempty"`
	Tenant        string            `bson:"tenant,omitempty"`
	TraceParent   string            `bson:"traceparent,omitempty"`
	TraceState    string            `bson:"tracestate,omitempty"`
	Custom        map[string]string `bson:"custom,omitempty"`
}

func idOf(l projection.LetterID) letterID {
	return letterID{Projection: l.Projection, Version: int64(l.Version), Position: int64(l.Position), Key: l.Key}
}

// park adds a letter to a plan.
func (p *plan) park(coll string, l *projection.DeadLetter) error {
	r := letterRecord{
		ID: idOf(l.LetterID),
		Event: eventRecord{
			ID: l.Event.ID, Stream: l.Event.Stream, Version: l.Event.Version, Type: l.Event.Type, Schema: l.Event.Schema,
			Format: l.Event.Format, Data: l.Event.Data, Time: l.Event.Time, Position: l.Event.Position,
		},
		Error: cut(l.Error), Attempts: l.Attempts, First: l.First, Last: l.Last,
	}
	if m := l.Event.Metadata; !m.IsZero() {
		converted := eventstoreMetadata(m)
		r.Event.Metadata = &converted
	}
	if len(r.Event.Data) > maxInline {
		if err := p.park1(coll, dataID{r.ID}, bson.D{{Key: "_id", Value: dataID{r.ID}}, {Key: "data", Value: r.Event.Data}}); err != nil {
			return err
		}
		r.Event.Data, r.Event.Apart = nil, true
	}
	return p.park1(coll, r.ID, r)
}

func (p *plan) park1(coll string, id, record any) error {
	key, err := bson.Marshal(id)
	if err != nil {
		return fmt.Errorf("encode the key of a dead letter: %w", err)
	}
	doc, err := bson.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode a dead letter: %w", err)
	}
	p.putWhole(coll, key, doc)
	return nil
}

// unpark adds the removal of a letter to a plan.
func (p *plan) unpark(coll string, l projection.LetterID) error {
	for _, id := range []any{idOf(l), dataID{idOf(l)}} {
		key, err := bson.Marshal(id)
		if err != nil {
			return fmt.Errorf("encode the key of a dead letter: %w", err)
		}
		p.removeWhole(coll, key)
	}
	return nil
}

func cut(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
		for !utf8.ValidString(s[len(s)-utf8.UTFMax:]) && len(s) > maxReason-utf8.UTFMax {
			s = s[:len(s)-1]
		}
	}
	return s
}

func (r *letterRecord) letter() projection.DeadLetter {
	l := projection.DeadLetter{
		LetterID: projection.LetterID{
			Projection: r.ID.Projection, Version: int(r.ID.Version), Key: r.ID.Key, Position: eventstore.Position(r.ID.Position),
		},
		Event: eventstore.Event{
			ID: r.Event.ID, Stream: r.Event.Stream, Version: r.Event.Version, Type: r.Event.Type, Schema: r.Event.Schema,
			Format: r.Event.Format, Data: r.Event.Data, Time: r.Event.Time.UTC(), Position: r.Event.Position,
		},
		Error: r.Error, Attempts: r.Attempts, First: r.First.UTC(), Last: r.Last.UTC(),
	}
	if m := r.Event.Metadata; m != nil {
		l.Event.Metadata = eventstore.Metadata(*m)
	}
	return l
}

// scope returns a filter for the letters of a version behind a position.
func scope(name string, version int, after eventstore.Position) bson.D {
	of := bson.D{{Key: "projection", Value: name}, {Key: "version", Value: int64(version)}}
	with := func(e ...bson.E) bson.D { return append(of[:2:2], e...) }
	from := with(bson.E{Key: "position", Value: int64(after)}, bson.E{Key: "key", Value: bson.MaxKey{}})
	to := with(bson.E{Key: "position", Value: bson.MaxKey{}})
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: from}, {Key: "$lt", Value: to}}}}
}

// DeadLetters implements [projection.DeadLetterStore].
func (b *Backend) DeadLetters(ctx context.Context, q projection.LetterQuery) ([]projection.DeadLetter, error) {
	if q.Limit < 0 {
		return nil, invalid("limit", "is negative; 0 stands for no limit")
	}
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	filter := scope(q.Projection, q.Version, q.After)
	if q.Key != "" {
		filter = append(filter, bson.E{Key: "_id.key", Value: q.Key})
	}
	cur, err := on.letters.Find(run, filter, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(q.Limit)))
	if err != nil {
		return nil, b.failed(ctx, "list dead letters", err)
	}
	var records []letterRecord
	if err := cur.All(run, &records); err != nil {
		return nil, b.failed(ctx, "list dead letters", err)
	}
	letters := make([]projection.DeadLetter, len(records))
	for i := range records {
		if r := &records[i]; r.Event.Apart {
			var apart struct {
				Data []byte `bson:"data"`
			}
			if err := on.letters.FindOne(run, bson.D{{Key: "_id", Value: dataID{r.ID}}}).Decode(&apart); err != nil {
				return nil, b.failed(ctx, "read the data of a dead letter", err)
			}
			r.Event.Data = apart.Data
		}
		letters[i] = records[i].letter()
	}
	return letters, nil
}

// ParkedKeys implements [projection.DeadLetterStore].
func (b *Backend) ParkedKeys(ctx context.Context, name string, version int) (map[string]int, error) {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	cur, err := on.letters.Aggregate(run, bson.A{
		bson.D{{Key: "$match", Value: scope(name, version, -1)}},
		bson.D{{Key: "$group", Value: bson.D{{Key: "_id", Value: "$_id.key"}, {Key: "n", Value: bson.D{{Key: "$sum", Value: 1}}}}}},
	})
	if err != nil {
		return nil, b.failed(ctx, "count dead letters", err)
	}
	var groups []struct {
		Key string `bson:"_id"`
		N   int    `bson:"n"`
	}
	if err := cur.All(run, &groups); err != nil {
		return nil, b.failed(ctx, "count dead letters", err)
	}
	keys := make(map[string]int, len(groups))
	for _, g := range groups {
		keys[g.Key] = g.N
	}
	return keys, nil
}

// DropDeadLetters implements [projection.DeadLetterStore].
func (b *Backend) DropDeadLetters(ctx context.Context, name string, version int) error {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	apart := bson.D{{Key: "_id.data_of.projection", Value: name}, {Key: "_id.data_of.version", Value: int64(version)}}
	for _, filter := range []bson.D{scope(name, version, -1), apart} {
		if _, err := on.letters.DeleteMany(run, filter); err != nil {
			return b.failed(ctx, "drop dead letters", err)
		}
	}
	return nil
}

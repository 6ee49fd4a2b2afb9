package mongostore

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

// recoveryMargin is how far before the log's last known time a recovery starts
// to look for missing events. It is a matter of speed alone: what has an older
// id, because a writer's clock is behind, is found by going through the rest
// afterwards.
const recoveryMargin = 24 * time.Hour

// A recovery finds the events that are missing in the log and logs them, each
// stream in the order of its versions, while writers go on. It is how the first
// sequencing of a collection works as well.
//
// It notes the cluster's time T, learns from the log the last version of every
// stream in it, and goes through all events in the order of their ids, which is
// roughly that of time. An event is logged if its version is the next one of its
// stream. If versions before it have not come yet (ids carry the writers' clocks),
// they are fetched first and skipped when they come.
//
// Whatever was committed before T is seen by this. What was committed later may
// be seen or not. So the change stream is then read from T on, and an event of it
// is logged if its version was not; until a mark comes, a document inserted after
// the scan, behind which nothing can have been seen. Documents of the log written
// before the mark have no token: after a crash the recovery starts again, and
// finds less to do.
//
// Its memory is some 50 bytes a stream, for the last version of each.
type recovery struct {
	seq    *sequencer
	logged map[streamHash]eventstore.Version
	seeds  [2]maphash.Seed

	markID bson.ObjectID
	passed bool // the mark has come

	progress RecoveryProgress
	told     time.Time
}

// streamHash stands for a stream's name. At 128 bits two names do not meet.
type streamHash [2]uint64

func (r *recovery) hash(s eventstore.StreamID) streamHash {
	return streamHash{maphash.String(r.seeds[0], string(s)), maphash.String(r.seeds[1], string(s))}
}

// recover compares events and log, logs what is missing, and goes on with the
// change stream.
func (q *sequencer) recover(ctx context.Context) error {
	r := &recovery{
		seq:    q,
		logged: map[streamHash]eventstore.Version{},
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
	sess, err := q.store.session()
	if err != nil {
		return err
	}
	defer sess.EndSession(context.WithoutCancel(ctx))
	start, err := q.store.clusterTime(ctx, sess)
	if err != nil {
		return err
	}
	if err := r.scan(mongo.NewSessionContext(ctx, sess)); err != nil {
		return err
	}
	if err := r.setMark(ctx); err != nil {
		return err
	}
	cs, err := persevere(ctx, 0, func(ctx context.Context) (*mongo.ChangeStream, error) {
		return q.open(ctx, options.ChangeStream().SetStartAtOperationTime(&start))
	})
	if err != nil {
		return err
	}
	defer closeChangeStream(ctx, cs)
	return q.pump(ctx, cs, r)
}

// scan logs what is missing of all events. The session of ctx makes it see
// everything committed before it began.
func (r *recovery) scan(ctx context.Context) error {
	store := r.seq.store
	total, err := store.events.EstimatedDocumentCount(mongo.NewSessionContext(ctx, nil))
	if err != nil {
		return err
	}
	r.progress.Total = total
	if err := r.learn(ctx); err != nil {
		return err
	}
	ranges := []bson.D{{}}
	if after := time.Unix(int64(r.seq.mark.T), 0).Add(-recoveryMargin); r.seq.head > 0 && after.Unix() > 0 {
		margin := bson.NewObjectIDFromTimestamp(after)
		ranges = []bson.D{
			{{Key: "_id", Value: bson.D{{Key: "$gte", Value: margin}}}},
			{{Key: "_id", Value: bson.D{{Key: "$lt", Value: margin}}}},
		}
	}
	for _, filter := range ranges {
		if err := r.scanRange(ctx, filter); err != nil {
			return err
		}
	}
	if err := r.seq.flush(ctx, nil, true); err != nil {
		return err
	}
	r.progress.Done = true
	r.tell()
	return nil
}

// learn finds the last version of every stream in the log.
func (r *recovery) learn(ctx context.Context) error {
	if r.seq.head == 0 {
		return nil
	}
	cur, err := r.seq.store.log.Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return err
	}
	defer closeCursor(ctx, cur)
	var decoder logDecoder
	next := eventstore.Position(1)
	for cur.Next(ctx) {
		d, err := decoder.decode(cur.Current)
		if err != nil {
			return err
		}
		if d.first != next {
			return malformed("the log has a document at %d where one at %d is expected", d.first, next)
		}
		next = d.last() + 1
		for i := range d.entries {
			e := &d.entries[i]
			r.logged[r.hash(e.stream)] = e.version
		}
	}
	if err := cur.Err(); err != nil {
		return err
	}
	if next != r.seq.head+1 {
		return errOvertaken // the log has grown since
	}
	return nil
}

func slimProjection() bson.D {
	return bson.D{{Key: "stream_id", Value: 1}, {Key: "event_type", Value: 1}, {Key: "version", Value: 1}}
}

func (r *recovery) scanRange(ctx context.Context, filter bson.D) error {
	cur, err := r.seq.store.events.Find(ctx, filter, options.Find().
		SetSort(bson.D{{Key: "_id", Value: 1}}).SetProjection(slimProjection()).SetBatchSize(10_000))
	if err != nil {
		return err
	}
	defer closeCursor(ctx, cur)
	var decoder logDecoder
	for cur.Next(ctx) {
		e, err := decoder.entry(cur.Current)
		if err != nil {
			return err
		}
		r.progress.Scanned++
		if isMarker(e.typ) {
			continue
		}
		if err := r.offer(ctx, e); err != nil {
			return err
		}
		if time.Since(r.told) > time.Second {
			r.tell()
		}
	}
	return cur.Err()
}

func (r *recovery) tell() {
	r.told = time.Now()
	r.seq.store.logger.Info("recovery of the log",
		slog.Int64("scanned", r.progress.Scanned), slog.Int64("total", r.progress.Total),
		slog.Int64("logged", r.progress.Logged), slog.Bool("done", r.progress.Done))
	if hook := r.seq.store.cfg.Hooks.Recovery; hook != nil {
		hook(r.progress)
	}
}

// offer logs an event unless it is in the log, after those of its stream that
// come before it.
func (r *recovery) offer(ctx context.Context, e logEntry) error {
	key := r.hash(e.stream)
	have := r.logged[key]
	if e.version <= have {
		return nil
	}
	if e.version > have+1 {
		if err := r.fill(ctx, e.stream, have, e.version); err != nil {
			return err
		}
	}
	r.logged[key] = e.version
	return r.log(ctx, e)
}

// fill logs the events of a stream between two versions.
func (r *recovery) fill(ctx context.Context, stream eventstore.StreamID, after, before eventstore.Version) error {
	read, done, err := r.seq.store.reading(mongo.NewSessionContext(ctx, nil))
	if err != nil {
		return err
	}
	defer done()
	cur, err := r.seq.store.events.Find(read,
		bson.D{
			{Key: "stream_id", Value: stream},
			{Key: "version", Value: bson.D{{Key: "$gt", Value: int64(after)}, {Key: "$lt", Value: int64(before)}}},
		},
		options.Find().SetSort(bson.D{{Key: "stream_id", Value: 1}, {Key: "version", Value: 1}}).SetProjection(slimProjection()))
	if err != nil {
		return err
	}
	defer closeCursor(read, cur)
	var decoder logDecoder
	for cur.Next(read) {
		e, err := decoder.entry(cur.Current)
		if err != nil {
			return err
		}
		if err := r.log(ctx, e); err != nil {
			return err
		}
	}
	return cur.Err()
}

func (r *recovery) log(ctx context.Context, e logEntry) error {
	r.progress.Logged++
	q := r.seq
	q.pending = append(q.pending, e)
	if len(q.pending) < q.store.cfg.LogBatch {
		return nil
	}
	return q.flush(ctx, nil, true)
}

// setMark inserts the document that ends the recovery when the change stream
// brings it. It is deleted at once, which the sequencer does not look at.
func (r *recovery) setMark(ctx context.Context) error {
	r.markID = r.seq.store.ids.next()
	mark := encodeMarker(r.markID, eventstore.StreamID(markType), eventstore.Version(1+rand.Int64N(math.MaxInt64-1)), markType) //nolint:gosec // unique, not secret
	_, err := persevere(ctx, r.seq.store.answer, func(ctx context.Context) (struct{}, error) {
		_, err := r.seq.store.events.InsertOne(ctx, mark)
		if mongo.IsDuplicateKeyError(err) { // by an attempt before
			err = nil
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	err = ask(ctx, r.seq.store.answer, func(ctx context.Context) error {
		return r.seq.store.deleteMarkers(ctx, []bson.Raw{mark})
	})
	if err != nil && ctx.Err() == nil && errors.Is(Classify("", err), ErrConnection) {
		return nil // one mark more in the collection does no harm
	}
	return err
}

package mongostore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/snapshot"
)

const (
	// inlineSnapshot is the size in bytes up to which a snapshot's state is kept
	// in its document; a larger one is a GridFS file.
	inlineSnapshot = 15 << 20
	// orphanAge is how old a file must be before Sweep takes it for one that was
	// left behind; an upload takes less.
	orphanAge = time.Hour
)

// Snapshots is a [snapshot.Store] on MongoDB. A state larger than a document may
// be is kept in GridFS, in the bucket "snapshots".
//
// Such a file is uploaded first and named in the snapshot's document then; the
// one that was named before is removed last. A crash in between leaves a file
// that nothing names, for [Snapshots.Sweep].
type Snapshots struct{ store *Store }

var _ snapshot.Store = (*Snapshots)(nil)

// Snapshots returns the store's snapshots.
func (s *Store) Snapshots() *Snapshots { return &Snapshots{store: s} }

// Load implements [snapshot.Store].
func (s *Snapshots) Load(ctx context.Context, key snapshot.Key) (snap snapshot.Snapshot, err error) {
	err = s.store.onPresentClient(ctx, func(on *Store) (err error) {
		snap, err = on.snapshotting().load(ctx, key)
		return err
	})
	return snap, err
}

// Save implements [snapshot.Store].
func (s *Snapshots) Save(ctx context.Context, snap snapshot.Snapshot) error {
	return s.store.onPresentClient(ctx, func(on *Store) error { return on.snapshotting().save(ctx, snap) })
}

// Delete implements [snapshot.Store].
func (s *Snapshots) Delete(ctx context.Context, stream eventstore.StreamID) error {
	return s.store.onPresentClient(ctx, func(on *Store) error { return on.snapshotting().delete(ctx, stream) })
}

// Sweep removes files that were left behind by a crash: those older than an hour,
// by the server's clock, that no snapshot names. It returns how many it removed.
// Run it now and then where snapshots are larger than a document.
func (s *Snapshots) Sweep(ctx context.Context) (removed int, err error) {
	err = s.store.onPresentClient(ctx, func(on *Store) error {
		n, err := on.snapshotting().sweep(ctx)
		removed += n
		return err
	})
	return removed, err
}

// A snapshotting is one operation on snapshots. It has a bucket of its own: the
// driver's has a buffer, which two uploads must not share.
type snapshotting struct {
	coll   *mongo.Collection
	bucket *mongo.GridFSBucket
	fail   func(ctx context.Context, op string, err error) error
}

func (s *Store) snapshotting() *snapshotting {
	return &snapshotting{
		coll:   s.snapshots,
		bucket: s.db.GridFSBucket(options.GridFSBucket().SetName(s.snapshots.Name())),
		fail:   s.failed,
	}
}

type snapshotRecord struct {
	ID      bson.D              `bson:"_id"`
	Stream  eventstore.StreamID `bson:"stream_id"`
	Schema  int64               `bson:"schema"`
	Version int64               `bson:"version"`
	Format  string              `bson:"format"`
	State   []byte              `bson:"state,omitempty"`
	File    *bson.ObjectID      `bson:"file,omitempty"`
	At      time.Time           `bson:"timestamp"`
}

func snapshotKey(k snapshot.Key) bson.D {
	return bson.D{{Key: "stream_id", Value: k.Stream}, {Key: "schema", Value: int64(k.Schema)}}
}

func (s *snapshotting) load(ctx context.Context, key snapshot.Key) (snapshot.Snapshot, error) {
	op := fmt.Sprintf("load the snapshot of %q", key.Stream)
	var missing *bson.ObjectID
	for {
		var r snapshotRecord
		err := s.coll.FindOne(ctx, bson.D{{Key: "_id", Value: snapshotKey(key)}}).Decode(&r)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return snapshot.Snapshot{}, fmt.Errorf("%s of schema %d: %w", op, key.Schema, snapshot.ErrNotFound)
		}
		if err != nil {
			return snapshot.Snapshot{}, s.fail(ctx, op, err)
		}
		format, err := parseFormat(r.Format)
		if err != nil {
			return snapshot.Snapshot{}, s.fail(ctx, op, err)
		}
		if r.File != nil {
			r.State, err = s.download(ctx, *r.File)
			if isFileGone(err) && (missing == nil || *missing != *r.File) {
				missing = r.File // replaced since the document was read
				continue
			}
			if isFileGone(err) {
				// Lost for good. A snapshot is a cache: there is none.
				return snapshot.Snapshot{}, fmt.Errorf("%s of schema %d, whose file is gone: %w", op, key.Schema, snapshot.ErrNotFound)
			}
			if err != nil {
				return snapshot.Snapshot{}, s.fail(ctx, op, err)
			}
		}
		return snapshot.Snapshot{
			Key: key, Version: eventstore.Version(r.Version), Format: format, State: r.State, Time: r.At.UTC(),
		}, nil
	}
}

func parseFormat(s string) (eventstore.Format, error) {
	for _, f := range []eventstore.Format{eventstore.BSON, eventstore.JSON} {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, malformed("a snapshot has format %q", s)
}

func isFileGone(err error) bool {
	return errors.Is(err, mongo.ErrFileNotFound) || errors.Is(err, mongo.ErrMissingChunk) || errors.Is(err, mongo.ErrWrongSize)
}

func (s *snapshotting) download(ctx context.Context, id bson.ObjectID) ([]byte, error) {
	var buf bytes.Buffer
	_, err := s.bucket.DownloadToStream(ctx, id, &buf)
	return buf.Bytes(), err
}

func (s *snapshotting) save(ctx context.Context, snap snapshot.Snapshot) error {
	op := fmt.Sprintf("save a snapshot of %q", snap.Stream)
	if err := snap.Stream.Validate(); err != nil {
		return err
	}
	set := bson.D{
		{Key: "stream_id", Value: snap.Stream},
		{Key: "schema", Value: int64(snap.Schema)},
		{Key: "version", Value: int64(snap.Version)},
		{Key: "format", Value: snap.Format.String()},
		{Key: "timestamp", Value: snap.Time},
	}
	update := bson.D{}
	var uploaded *bson.ObjectID
	if len(snap.State) <= inlineSnapshot {
		set = append(set, bson.E{Key: "state", Value: bson.Binary{Data: snap.State}})
		update = append(update, bson.E{Key: "$unset", Value: bson.D{{Key: "file", Value: ""}}})
	} else {
		id := bson.NewObjectID()
		if err := s.bucket.UploadFromStreamWithID(ctx, id, string(snap.Stream), bytes.NewReader(snap.State)); err != nil {
			s.remove(ctx, &id)
			return s.fail(ctx, op, err)
		}
		uploaded = &id
		set = append(set, bson.E{Key: "file", Value: id})
		update = append(update, bson.E{Key: "$unset", Value: bson.D{{Key: "state", Value: ""}}})
	}
	update = append(update, bson.E{Key: "$set", Value: set})
	replaced, kept, err := s.put(ctx, snap, update)
	if err != nil {
		// It may have been put all the same: the file stays, for Sweep to judge.
		return s.fail(ctx, op, err)
	}
	if !kept {
		s.remove(ctx, uploaded)
		return nil
	}
	s.remove(ctx, replaced)
	return nil
}

// put writes a snapshot's document unless there is a newer one, and returns the
// file that the document named before.
func (s *snapshotting) put(ctx context.Context, snap snapshot.Snapshot, update bson.D) (replaced *bson.ObjectID, kept bool, err error) {
	for attempt := 0; ; attempt++ {
		var before snapshotRecord
		err := s.coll.FindOneAndUpdate(ctx,
			bson.D{{Key: "_id", Value: snapshotKey(snap.Key)}, {Key: "version", Value: bson.D{{Key: "$lte", Value: int64(snap.Version)}}}},
			update,
			options.FindOneAndUpdate().SetUpsert(true).SetProjection(bson.D{{Key: "file", Value: 1}}),
		).Decode(&before)
		switch {
		case err == nil:
			return before.File, true, nil
		case errors.Is(err, mongo.ErrNoDocuments): // there was none
			return nil, true, nil
		case !mongo.IsDuplicateKeyError(err):
			return nil, false, err
		case attempt > 0 || inTransaction(ctx): // there is a newer one
			return nil, false, nil
		}
	}
}

func (s *snapshotting) remove(ctx context.Context, file *bson.ObjectID) {
	if file == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = s.bucket.Delete(ctx, *file) // what stays is found by Sweep
}

func (s *snapshotting) delete(ctx context.Context, stream eventstore.StreamID) error {
	op := fmt.Sprintf("delete the snapshots of %q", stream)
	cur, err := s.coll.Find(ctx, bson.D{{Key: "stream_id", Value: stream}}, options.Find().SetProjection(bson.D{{Key: "file", Value: 1}}))
	if err != nil {
		return s.fail(ctx, op, err)
	}
	var records []snapshotRecord
	if err := cur.All(ctx, &records); err != nil {
		return s.fail(ctx, op, err)
	}
	if len(records) == 0 {
		return nil
	}
	if _, err := s.coll.DeleteMany(ctx, bson.D{{Key: "stream_id", Value: stream}}); err != nil {
		return s.fail(ctx, op, err)
	}
	for _, r := range records {
		if r.File == nil {
			continue
		}
		if err := s.bucket.Delete(ctx, *r.File); err != nil && !isFileGone(err) {
			return s.fail(ctx, op, err)
		}
	}
	return nil
}

func (s *snapshotting) sweep(ctx context.Context) (removed int, err error) {
	const op = "sweep snapshot files"
	files := s.bucket.GetFilesCollection()
	cur, err := files.Aggregate(ctx, mongo.Pipeline{
		{{Key: "$match", Value: bson.D{{Key: "$expr", Value: bson.D{{Key: "$lt", Value: bson.A{
			"$uploadDate", bson.D{{Key: "$subtract", Value: bson.A{"$$NOW", orphanAge.Milliseconds()}}},
		}}}}}}},
		{{Key: "$project", Value: bson.D{{Key: "_id", Value: 1}}}},
	})
	if err != nil {
		return 0, s.fail(ctx, op, err)
	}
	defer closeCursor(ctx, cur)
	for cur.Next(ctx) {
		id, ok := cur.Current.Lookup("_id").ObjectIDOK()
		if !ok {
			continue
		}
		err := s.coll.FindOne(ctx, bson.D{{Key: "file", Value: id}}, options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()
		switch {
		case err == nil:
			continue
		case !errors.Is(err, mongo.ErrNoDocuments):
			return removed, s.fail(ctx, op, err)
		}
		if err := s.bucket.Delete(ctx, id); err != nil && !isFileGone(err) {
			return removed, s.fail(ctx, op, err)
		}
		removed++
	}
	return removed, s.fail(ctx, op, cur.Err())
}

package query

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// A Repository keeps entities of type T by their id. It is safe for concurrent use.
//
// With a version field, writes are optimistic: an entity that somebody else has
// changed since it was read is refused with ErrConflict, and nothing is written.
// With a deletion time, Delete marks and all reads leave out what is marked.
//
// Methods that take *T fill in the id, version and times only if they succeed.
type Repository[T any, ID comparable] struct {
	config  RepositoryConfig[T, ID]
	coll    *Collection[T]
	version string
	created string
	updated string
	deleted string
}

// RepositoryConfig tells a Repository which fields of T it takes care of. Each
// is chosen by a function that returns its address, as for FieldOf. Only ID is
// required.
type RepositoryConfig[T any, ID comparable] struct {
	// ID is the field stored as _id.
	ID func(*T) *ID
	// NewID makes ids for entities that have none; nil: a new ObjectID if ID is one, and otherwise such an
	// entity is an error.
	NewID func() ID
	// Version counts the writes of an entity from 1; nil: writes are not optimistic. It must always be stored: no omitempty.
	Version func(*T) *int64
	// CreatedAt and UpdatedAt are set on the first and on every write; nil: not kept.
	CreatedAt, UpdatedAt func(*T) *time.Time
	// DeletedAt marks deleted entities; nil: Delete deletes.
	DeletedAt func(*T) **time.Time
	// Now is the clock for the times, which are kept in UTC and whole milliseconds; nil: time.Now.
	Now func() time.Time
	// Tags says which struct tags name the stored fields.
	Tags Tags
	// Retry says how often reads are repeated.
	Retry Retry
}

// NewRepository makes a Repository. It returns an error that names the bad
// field of the config, and asks no server.
func NewRepository[T any, ID comparable](coll *mongo.Collection, config RepositoryConfig[T, ID]) (*Repository[T, ID], error) {
	c, err := NewCollection[T](coll, Config{Retry: config.Retry})
	if err != nil {
		return nil, err
	}
	if config.ID == nil {
		return nil, invalidf("query: RepositoryConfig.ID is nil: choose the field that is stored as _id")
	}
	id := FieldOf(config.ID, config.Tags)
	if id.err != nil {
		return nil, invalidf("query: RepositoryConfig.ID: %v", id.err)
	}
	if id.path != "_id" {
		return nil, invalidf("query: RepositoryConfig.ID chooses a field that is stored as %q: tag it `bson:\"_id\"`", id.path)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	r := &Repository[T, ID]{config: config, coll: c}
	for _, f := range []struct {
		name string
		path *string
		of   func() (string, error)
	}{
		{"Version", &r.version, chosen(config.Version, config.Tags)},
		{"CreatedAt", &r.created, chosen(config.CreatedAt, config.Tags)},
		{"UpdatedAt", &r.updated, chosen(config.UpdatedAt, config.Tags)},
		{"DeletedAt", &r.deleted, chosen(config.DeletedAt, config.Tags)},
	} {
		if *f.path, err = f.of(); err != nil {
			return nil, invalidf("query: RepositoryConfig.%s: %v", f.name, err)
		}
	}
	return r, nil
}

// chosen returns the path of an optional field.
func chosen[T, F any](choose func(*T) *F, tags Tags) func() (string, error) {
	return func() (string, error) {
		if choose == nil {
			return "", nil
		}
		f := FieldOf(choose, tags)
		return f.path, f.err
	}
}

// Collection returns the collection underneath. Writes made through it know nothing of versions and times.
func (r *Repository[T, ID]) Collection() *Collection[T] { return r.coll }

func (r *Repository[T, ID]) now() time.Time {
	return r.config.Now().UTC().Truncate(time.Millisecond)
}

// alive leaves out what is marked as deleted.
func (r *Repository[T, ID]) alive() Filter {
	if r.deleted == "" {
		return Filter{}
	}
	return Eq(r.deleted, nil)
}

func (r *Repository[T, ID]) byID(id ID) Filter { return Eq("_id", id) }

// Get returns the entity; ErrNotFound if there is none.
func (r *Repository[T, ID]) Get(ctx context.Context, id ID) (T, error) {
	return r.Find(r.byID(id)).First(ctx)
}

// Find starts a find of the entities that match; order, limits, pages and
// streams are those of Find.
func (r *Repository[T, ID]) Find(criteria ...Filter) Find[T] {
	return r.coll.Find(And(criteria...), r.alive())
}

// FindWithDeleted is Find with what is marked as deleted.
func (r *Repository[T, ID]) FindWithDeleted(criteria ...Filter) Find[T] {
	return r.coll.Find(criteria...)
}

// Count returns how many entities match.
func (r *Repository[T, ID]) Count(ctx context.Context, criteria ...Filter) (int64, error) {
	return r.Find(criteria...).Count(ctx)
}

// Exists reports whether there is an entity with the id.
func (r *Repository[T, ID]) Exists(ctx context.Context, id ID) (bool, error) {
	return r.Find(r.byID(id)).Exists(ctx)
}

// prepared returns a copy of the entity as it is to be stored.
func (r *Repository[T, ID]) prepared(entity *T, isNew bool) (T, error) {
	next := *entity
	now := r.now()
	id := r.config.ID(&next)
	if *id == *new(ID) {
		if err := r.newID(id); err != nil {
			return next, err
		}
	}
	if r.version != "" {
		*r.config.Version(&next)++
	}
	if r.created != "" && (isNew || r.config.CreatedAt(&next).IsZero()) {
		*r.config.CreatedAt(&next) = now
	}
	if r.updated != "" {
		*r.config.UpdatedAt(&next) = now
	}
	return next, nil
}

func (r *Repository[T, ID]) newID(id *ID) error {
	if r.config.NewID != nil {
		*id = r.config.NewID()
		return nil
	}
	if oid, ok := any(id).(*bson.ObjectID); ok {
		*oid = bson.NewObjectID()
		return nil
	}
	return invalidf("the entity has no id, and RepositoryConfig.NewID is nil")
}

// Insert stores a new entity; ErrDuplicate if its id (or another unique key) is
// taken. A version must be 0.
func (r *Repository[T, ID]) Insert(ctx context.Context, entity *T) error {
	return writeError("insert", r.coll.coll, r.insert(ctx, entity))
}

func (r *Repository[T, ID]) insert(ctx context.Context, entity *T) error {
	if r.version != "" && *r.config.Version(entity) != 0 {
		return invalidf("the entity to insert has version %d: it has been stored before", *r.config.Version(entity))
	}
	next, err := r.prepared(entity, true)
	if err != nil {
		return err
	}
	if _, err := r.coll.coll.InsertOne(ctx, next); err != nil {
		return err
	}
	*entity = next
	return nil
}

// Save stores the entity, new or not. With versions, an entity of version 0 is
// new and ErrConflict says that somebody else stored one under its id; of any other version it
// must still be the one stored. Without versions the last one to save wins.
func (r *Repository[T, ID]) Save(ctx context.Context, entity *T) error {
	return writeError("save", r.coll.coll, r.save(ctx, entity))
}

func (r *Repository[T, ID]) save(ctx context.Context, entity *T) error {
	if r.version != "" && *r.config.Version(entity) > 0 {
		return r.update(ctx, entity)
	}
	if r.version != "" {
		err := r.insert(ctx, entity)
		if mongo.IsDuplicateKeyError(err) {
			return r.whoseKey(ctx, *r.config.ID(entity), err)
		}
		return err
	}
	next, err := r.prepared(entity, false)
	if err != nil {
		return err
	}
	id := *r.config.ID(&next)
	_, err = r.coll.replaceOne(ctx, And(r.byID(id), r.alive()), next, UpdateOptions{Upsert: true})
	if mongo.IsDuplicateKeyError(err) {
		return r.whoseKey(ctx, id, err)
	}
	if err != nil {
		return err
	}
	*entity = next
	return nil
}

// whoseKey tells whether the id was taken (a conflict) or another unique key (a duplicate).
func (r *Repository[T, ID]) whoseKey(ctx context.Context, id ID, duplicate error) error {
	if mongo.SessionFromContext(ctx) != nil {
		// The error has ended the transaction: nothing more can be asked.
		return duplicate
	}
	taken, err := r.coll.Find(r.byID(id)).Exists(ctx)
	if err != nil || !taken {
		return duplicate
	}
	return errors.Join(ErrConflict, duplicate)
}

// Update stores an entity that is there already: ErrNotFound if it isn't (any
// more), ErrConflict if its version is another.
func (r *Repository[T, ID]) Update(ctx context.Context, entity *T) error {
	return writeError("update", r.coll.coll, r.update(ctx, entity))
}

func (r *Repository[T, ID]) update(ctx context.Context, entity *T) error {
	id := *r.config.ID(entity)
	if id == *new(ID) {
		return invalidf("the entity to update has no id")
	}
	next, err := r.prepared(entity, false)
	if err != nil {
		return err
	}
	result, err := r.coll.replaceOne(ctx, And(r.byID(id), r.alive(), r.atVersion(entity)), next, UpdateOptions{})
	if err != nil {
		return err
	}
	if result.Matched == 0 {
		return r.missed(ctx, id)
	}
	*entity = next
	return nil
}

func (r *Repository[T, ID]) atVersion(entity *T) Filter {
	if r.version == "" {
		return Filter{}
	}
	return Eq(r.version, *r.config.Version(entity))
}

// missed tells a changed entity from one that isn't there.
func (r *Repository[T, ID]) missed(ctx context.Context, id ID) error {
	if r.version == "" {
		return errNoDocument
	}
	there, err := r.Exists(ctx, id)
	switch {
	case err != nil:
		return err
	case there:
		return ErrConflict
	}
	return errNoDocument
}

// Patch changes fields of an entity and returns it as it is then; ErrNotFound if
// there is none. Version and update time are taken care of.
func (r *Repository[T, ID]) Patch(ctx context.Context, id ID, update Update) (T, error) {
	return r.patch(ctx, id, Filter{}, update)
}

// PatchVersion is Patch if the entity still has the version, and ErrConflict if not.
func (r *Repository[T, ID]) PatchVersion(ctx context.Context, id ID, version int64, update Update) (T, error) {
	if r.version == "" {
		return *new(T), writeError("patch", r.coll.coll, invalidf("the repository keeps no versions"))
	}
	return r.patch(ctx, id, Eq(r.version, version), update)
}

func (r *Repository[T, ID]) patch(ctx context.Context, id ID, condition Filter, update Update) (T, error) {
	update = r.stamped(update)
	entity, err := r.coll.Find(r.byID(id), r.alive(), condition).FindAndUpdate(ctx, update, After)
	if errors.Is(err, ErrNotFound) && !condition.IsEverything() {
		err = r.missed(ctx, id)
	}
	return entity, writeError("patch", r.coll.coll, err)
}

// stamped adds version and update time to an update.
func (r *Repository[T, ID]) stamped(update Update) Update {
	if len(update.stages) > 0 {
		return update.fail(invalidf("update: a Repository patches by operators, not by a pipeline"))
	}
	if r.version != "" {
		update = update.Inc(r.version, int64(1))
	}
	if r.updated != "" {
		update = update.Set(r.updated, r.now())
	}
	return update
}

// Delete deletes an entity, or marks it as deleted; ErrNotFound if there is none.
func (r *Repository[T, ID]) Delete(ctx context.Context, id ID) error {
	return writeError("delete", r.coll.coll, r.remove(ctx, id, Filter{}))
}

// DeleteVersion is Delete if the entity still has the version, and ErrConflict if not.
func (r *Repository[T, ID]) DeleteVersion(ctx context.Context, id ID, version int64) error {
	if r.version == "" {
		return writeError("delete", r.coll.coll, invalidf("the repository keeps no versions"))
	}
	return writeError("delete", r.coll.coll, r.remove(ctx, id, Eq(r.version, version)))
}

func (r *Repository[T, ID]) remove(ctx context.Context, id ID, condition Filter) error {
	filter := And(r.byID(id), r.alive(), condition)
	var done bool
	var err error
	if r.deleted == "" {
		done, err = r.coll.DeleteOne(ctx, filter)
	} else {
		var result UpdateResult
		result, err = r.coll.updateOne(ctx, filter, r.stamped(Set(r.deleted, r.now())), UpdateOptions{})
		done = result.Matched > 0
	}
	switch {
	case err != nil:
		return err
	case done:
		return nil
	case condition.IsEverything():
		return errNoDocument
	}
	return r.missed(ctx, id)
}

// Restore takes back the mark of a deleted entity; ErrNotFound if none is marked.
func (r *Repository[T, ID]) Restore(ctx context.Context, id ID) (T, error) {
	if r.deleted == "" {
		return *new(T), writeError("restore", r.coll.coll, invalidf("the repository deletes for good: RepositoryConfig.DeletedAt is nil"))
	}
	entity, err := r.coll.Find(r.byID(id), Ne(r.deleted, nil)).FindAndUpdate(ctx, r.stamped(Unset(r.deleted)), After)
	return entity, writeError("restore", r.coll.coll, err)
}

// Purge deletes an entity for good, marked or not; ErrNotFound if there is none.
func (r *Repository[T, ID]) Purge(ctx context.Context, id ID) error {
	done, err := r.coll.DeleteOne(ctx, r.byID(id))
	if err == nil && !done {
		err = errNoDocument
	}
	return writeError("purge", r.coll.coll, err)
}

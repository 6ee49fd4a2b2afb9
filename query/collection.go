package query

import (
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// A Collection reads and writes documents of type T in one collection. It is
// safe for concurrent use, holds no resources of its own and needs no closing.
//
// Documents are decoded by the driver with the client's options, with two
// shortcuts that need no reflection: a T that implements bson.Unmarshaler (on its pointer)
// gets its bytes directly, and bson.Raw is handed out as it came.
type Collection[T any] struct {
	coll  *mongo.Collection
	retry Retry
}

// Config of a Collection. The zero value works.
type Config struct {
	// Retry says how often reads are repeated.
	Retry Retry
}

// From makes a Collection with the default Config.
func From[T any](coll *mongo.Collection) *Collection[T] {
	retry, _ := Retry{}.withDefaults() // the zero value is valid
	return &Collection[T]{coll: coll, retry: retry}
}

// NewCollection makes a Collection. It returns an error that names what is
// wrong with the Config, and asks no server.
func NewCollection[T any](coll *mongo.Collection, config Config) (*Collection[T], error) {
	if coll == nil {
		return nil, invalidf("query: the collection is nil")
	}
	retry, err := config.Retry.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Collection[T]{coll: coll, retry: retry}, nil
}

// Mongo returns the driver's collection, for what this package doesn't offer.
func (c *Collection[T]) Mongo() *mongo.Collection { return c.coll }

// Find starts a find of the documents that all of the filters match.
func (c *Collection[T]) Find(filters ...Filter) Find[T] {
	return Find[T]{coll: c, filter: And(filters...), spec: findSpec{prefetch: 1}}
}

// decode reads the cursor's current document.
func decode[T any](cursor *mongo.Cursor, into *T) error {
	switch v := any(into).(type) {
	case *bson.Raw:
		*v = append(bson.Raw(nil), cursor.Current...)
		return nil
	case bson.Unmarshaler:
		return v.UnmarshalBSON(cursor.Current)
	}
	return cursor.Decode(into)
}

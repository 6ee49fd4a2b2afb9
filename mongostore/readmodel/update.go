package readmodel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/annals-es/annals/projection"
)

// encodeUpdate encodes a partial update: a [projection.Patch], an update document
// with operators, or an update pipeline ([mongo.Pipeline], []bson.D or bson.A).
func (b *Backend) encodeUpdate(key string, u any) (bson.RawValue, error) {
	switch u := u.(type) {
	case projection.Patch:
		doc, err := b.encodePatch(key, u)
		return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: doc}, err
	case mongo.Pipeline:
		return marshalValue(bson.TypeArray, u)
	case []bson.D:
		return marshalValue(bson.TypeArray, u)
	case bson.A:
		return marshalValue(bson.TypeArray, u)
	case nil:
		return bson.RawValue{}, errors.New("an update is nil")
	}
	v, err := marshalValue(bson.TypeEmbeddedDocument, u)
	if err != nil {
		return v, err
	}
	elems, err := bson.Raw(v.Value).Elements()
	if err != nil {
		return v, err
	}
	if len(elems) == 0 {
		return v, fmt.Errorf("an update of type %T has no operators", u)
	}
	for _, e := range elems {
		if !strings.HasPrefix(e.Key(), "$") {
			return v, fmt.Errorf("an update of type %T has the field %q and no operators; to replace the document, give it as data", u, e.Key())
		}
	}
	return v, nil
}

func marshalValue(want bson.Type, v any) (bson.RawValue, error) {
	t, value, err := bson.MarshalValue(v)
	switch {
	case err != nil:
		return bson.RawValue{}, fmt.Errorf("an update of type %T cannot be encoded: %w", v, err)
	case t != want:
		return bson.RawValue{}, fmt.Errorf("an update of type %T is none: give a projection.Patch, an update document or a pipeline", v)
	}
	return bson.RawValue{Type: t, Value: value}, nil
}

// encodePatch returns the update document of a patch. One without fields makes
// the document if it is missing.
func (b *Backend) encodePatch(key string, p projection.Patch) (bson.Raw, error) {
	_, dst := bsoncore.AppendDocumentStart(nil)
	var err error
	operator := func(name string, paths []string, value func(dst []byte, path string) []byte) {
		if len(paths) == 0 {
			return
		}
		var at int32
		at, dst = bsoncore.AppendDocumentElementStart(dst, name)
		for _, path := range paths {
			dst = value(dst, path)
		}
		dst = closeDocument(dst, at)
	}
	encoded := func(values map[string]any) ([]string, func(dst []byte, path string) []byte) {
		return slices.Sorted(maps.Keys(values)), func(dst []byte, path string) []byte {
			v, e := b.encodeValue(values[path])
			if e != nil {
				err = errors.Join(err, fmt.Errorf("the patch's value for %q: %w", path, e))
				return dst
			}
			return append(bsoncore.AppendHeader(dst, bsoncore.Type(v.Type), path), v.Value...)
		}
	}
	for _, o := range []struct {
		name   string
		values map[string]any
	}{{"$set", p.Set}, {"$inc", p.Add}, {"$push", p.Push}} {
		paths, value := encoded(o.values)
		operator(o.name, paths, value)
	}
	operator("$unset", slices.Sorted(slices.Values(p.Unset)), func(dst []byte, path string) []byte {
		return bsoncore.AppendStringElement(dst, path, "")
	})
	if len(dst) == 4 {
		operator("$setOnInsert", []string{"_id"}, func(dst []byte, _ string) []byte {
			return bsoncore.AppendStringElement(dst, "_id", key)
		})
	}
	return closeDocument(dst, 0), err
}

func (b *Backend) encodeValue(v any) (bson.RawValue, error) {
	doc, err := b.cfg.Codec.Marshal(map[string]any{"v": v})
	if err != nil {
		return bson.RawValue{}, err
	}
	return bson.Raw(doc).LookupErr("v")
}

package update

import (
	"bytes"
	"context"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// replace puts a replacement in the place of doc. A replacement without _id
// takes over the one of doc.
func replace(doc, replacement bson.Raw, validate bool) (Result, error) {
	if bytes.Equal(doc, replacement) {
		return Result{Doc: doc}, nil
	}
	oldID, newID := value.Field(doc, "_id"), value.Field(replacement, "_id")
	out := replacement
	if newID.Type == 0 && oldID.Type != 0 {
		o := value.NewObject(len(replacement) + len(oldID.Value) + 5)
		o.Add("_id", oldID)
		o.AddAll(replacement)
		out = o.Doc()
	}
	if validate {
		if err := CheckStorable(out); err != nil {
			return Result{}, err
		}
	}
	switch {
	case newID.Type == bson.TypeArray:
		return Result{}, mongoerr.New(mongoerr.NotSingleValueField,
			"After applying the update to the document, the (immutable) field '_id' was found to be an array or array descendant.")
	case newID.Type != 0 && oldID.Type != 0 && value.Compare(newID, oldID) != 0:
		return Result{}, mongoerr.New(mongoerr.ImmutableField,
			"After applying the update, the (immutable) field '_id' was found to have been altered to _id: %s", show(newID))
	}
	return Result{Doc: idFirst(out), Changed: true, Replaced: true}, nil
}

func parsePipeline(u bson.RawValue, o Options) (*Update, error) {
	var stages []bson.Raw
	for _, s := range value.Elements(u) {
		if s.Type != bson.TypeEmbeddedDocument {
			return nil, mongoerr.New(mongoerr.TypeMismatch, "Each element of the 'pipeline' array must be an object")
		}
		stages = append(stages, s.Value)
	}
	env := *o.Env
	if o.Constants != nil {
		vars := value.NewObject(len(env.Vars) + len(o.Constants))
		vars.AddAll(env.Vars)
		vars.AddAll(o.Constants)
		env.Vars = vars.Doc()
	}
	p, err := pipeline.Parse(stages, pipeline.Namespace{}, &env)
	if err != nil {
		return nil, err
	}
	for _, s := range stages {
		name, _, _, _ := value.Next(value.Body(s))
		switch name {
		case "$set", "$addFields", "$unset", "$project", "$replaceRoot", "$replaceWith":
		default:
			return nil, mongoerr.New(mongoerr.InvalidOptions, "%s is not allowed to be used within an update", name)
		}
	}
	return &Update{pipeline: p}, nil
}

func (u *Update) applyPipeline(doc bson.Raw, validate bool) (Result, error) {
	one := iter.Seq2[bson.Raw, error](func(yield func(bson.Raw, error) bool) { yield(doc, nil) })
	for out, err := range u.pipeline.Run(context.Background(), nil, one) {
		if err != nil {
			return Result{}, err
		}
		return replace(doc, out, validate)
	}
	return Result{Doc: doc}, nil
}

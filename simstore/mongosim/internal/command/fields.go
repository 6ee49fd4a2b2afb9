package command

import (
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// checkFields refuses fields that the command does not take.
func (r *request) checkFields() error {
	if r.cmd.fields == nil {
		return nil
	}
	for _, f := range r.fields[1:] {
		if !slices.Contains(r.cmd.fields, f.key) {
			return r.cmd.unknown(r, f.key)
		}
	}
	for _, s := range r.msg.Sequences {
		if !slices.Contains(r.cmd.fields, s.Name) {
			return r.cmd.unknown(r, s.Name)
		}
	}
	return nil
}

func unknownField(r *request, field string) error {
	return mongoerr.New(40415, "BSON field '%s.%s' is an unknown field.", r.cmd.name, field)
}

func unknownPlain(_ *request, field string) error {
	return mongoerr.New(51177, "BSON field '%s' is an unknown field.", field)
}

func unrecognizedField(r *request, field string) error {
	return mongoerr.New(mongoerr.FailedToParse, "Failed to parse: %s. Unrecognized field '%s'.", text(r.body), field)
}

func unrecognizedOption(_ *request, field string) error {
	return mongoerr.New(mongoerr.FailedToParse, "unrecognized field '%s'", field)
}

// bool reads a field that is true or false; numbers count as well where lenient.
func (r *request) bool(name string, fallback bool) (bool, error) {
	v := r.field(name)
	switch {
	case value.IsMissing(v):
		return fallback, nil
	case v.Type == bson.TypeBoolean:
		return value.AsBool(v), nil
	case v.IsNumber():
		return value.Truthy(v), nil
	}
	return false, r.wrongType(name, v, "bool")
}

// document reads a field that is a document; nil if it is absent.
func (r *request) document(name string) (bson.Raw, error) {
	v := r.field(name)
	if value.IsMissing(v) {
		return nil, nil
	}
	doc, ok := v.DocumentOK()
	if !ok || v.Type != bson.TypeEmbeddedDocument {
		return nil, r.wrongType(name, v, "object")
	}
	return doc, nil
}

// string reads a field that is a string.
func (r *request) string(name string) (s string, present bool, err error) {
	v := r.field(name)
	if value.IsMissing(v) {
		return "", false, nil
	}
	s, ok := v.StringValueOK()
	if !ok {
		return "", true, r.wrongType(name, v, "string")
	}
	return s, true, nil
}

// long reads a field that is a number, truncated to an integer.
func (r *request) long(name string) (n int64, present bool, err error) {
	v := r.field(name)
	if value.IsMissing(v) {
		return 0, false, nil
	}
	n, ok := toLong(v)
	if !ok {
		return 0, true, r.wrongType(name, v, "long")
	}
	return n, true, nil
}

// toLong truncates any number to an integer, as far as it fits.
func toLong(v bson.RawValue) (int64, bool) {
	if !v.IsNumber() {
		return 0, false
	}
	if f, ok := v.DoubleOK(); ok && math.IsNaN(f) {
		return 0, true
	}
	return value.ClampInt64(v), true
}

// refuseCollation refuses what a simulated server cannot do, clearly: only the
// simple collation is supported.
func refuseCollation(v bson.RawValue) error {
	if value.IsMissing(v) {
		return nil
	}
	doc, ok := v.DocumentOK()
	if !ok {
		return mongoerr.New(mongoerr.TypeMismatch, "\"collation\" had the wrong type. Expected object, found %s", value.TypeName(v.Type))
	}
	if value.IsEmpty(doc) {
		return nil
	}
	if locale, ok := value.Field(doc, "locale").StringValueOK(); ok && locale == "simple" {
		return nil
	}
	if value.IsMissing(value.Field(doc, "locale")) {
		return mongoerr.New(mongoerr.NoSuchKey, "Missing expected field \"locale\"")
	}
	return mongoerr.New(mongoerr.BadValue, "mongosim supports the simple collation only, not %s", text(doc))
}

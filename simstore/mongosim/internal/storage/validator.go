package storage

import (
	"log/slog"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A validator checks documents before they are written; nil allows all.
type validator struct {
	filter   *match.Filter
	moderate bool
	warn     bool
}

func newValidator(o CollectionOptions) (*validator, error) {
	if o.Validator == nil || value.IsEmpty(o.Validator) || o.ValidationLevel == LevelOff {
		return nil, nil
	}
	f, err := match.ParseWith(o.Validator, &expr.Env{}, match.FeatureExpr|match.FeatureJSONSchema)
	if err != nil {
		return nil, err
	}
	return &validator{filter: f, moderate: o.ValidationLevel == LevelModerate, warn: o.ValidationAction == ActionWarn}, nil
}

// check refuses a document that the validator does not match. before is the
// document it replaces, nil for an insert.
func (v *validator) check(c *Collection, before, doc bson.Raw) error {
	if v == nil {
		return nil
	}
	if ok, err := v.filter.Match(doc); err == nil && ok {
		return nil
	}
	if v.moderate && before != nil {
		if ok, err := v.filter.Match(before); err != nil || !ok {
			return nil // it was not valid before either
		}
	}
	if v.warn {
		c.engine.log.Warn("document would fail validation", slog.String("namespace", c.id.Namespace.String()))
		return nil
	}
	return mongoerr.New(mongoerr.DocumentValidationFailure, "Document failed validation")
}

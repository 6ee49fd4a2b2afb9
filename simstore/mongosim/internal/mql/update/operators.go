package update

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// parseOperator is the table of the field operators: it reads the argument
// that name is given for one field. ok is false for a name that is none.
func parseOperator(name, field string, arg bson.RawValue, env *expr.Env) (n node, ok bool, err error) {
	var op operator
	switch name {
	case "$set":
		op = set{arg}
	case "$setOnInsert":
		return &leaf{op: set{arg}, insertOnly: true}, true, nil
	case "$unset":
		op = unset{}
	case "$inc", "$mul":
		op, err = parseArithmetic(name, field, arg)
	case "$min":
		op = extreme{arg, -1}
	case "$max":
		op = extreme{arg, 1}
	case "$rename":
		n, err = parseRename(field, arg)
		return n, true, err
	case "$currentDate":
		op, err = parseCurrentDate(arg, env)
	case "$push":
		op, err = parsePush(arg)
	case "$addToSet":
		op, err = parseAddToSet(arg)
	case "$pop":
		op, err = parsePop(field, arg)
	case "$pull":
		op, err = parsePull(arg, env)
	case "$pullAll":
		op, err = parsePullAll(arg)
	case "$bit":
		op, err = parseBit(arg)
	default:
		return nil, false, nil
	}
	return &leaf{op: op}, true, err
}

// set is $set.
type set struct{ v bson.RawValue }

func (s set) update(_ *run, e *element) (outcome, error) {
	if !e.opened && value.Identical(e.v, s.v) {
		return unchanged, nil
	}
	e.set(s.v)
	return changed, nil
}

func (s set) create(*run) (bson.RawValue, error) { return s.v, nil }

// unset is $unset. An array element becomes null, so that those after it keep
// their positions.
type unset struct{}

func (unset) update(_ *run, e *element) (outcome, error) {
	if e.parent.isArray() {
		e.set(value.Null())
	} else {
		e.parent.remove(e)
	}
	return removed, nil
}

// placeholder occupies a path, so that other operators conflict with it.
type placeholder struct{}

func (placeholder) update(*run, *element) (outcome, error) { return unchanged, nil }

// extreme is $min (want -1) or $max (want 1).
type extreme struct {
	v    bson.RawValue
	want int
}

func (x extreme) update(_ *run, e *element) (outcome, error) {
	if value.Compare(x.v, e.value())*x.want <= 0 {
		return unchanged, nil
	}
	e.set(x.v)
	return changed, nil
}

func (x extreme) create(*run) (bson.RawValue, error) { return x.v, nil }

// currentDate is $currentDate.
type currentDate struct {
	env       *expr.Env
	timestamp bool
}

func parseCurrentDate(arg bson.RawValue, env *expr.Env) (operator, error) {
	switch arg.Type {
	case bson.TypeBoolean:
		return currentDate{env: env}, nil
	case bson.TypeEmbeddedDocument:
	default:
		return nil, mongoerr.New(mongoerr.BadValue,
			"%s is not valid type for $currentDate. Please use a boolean ('true') or a $type expression ({$type: 'timestamp/date'}).", value.TypeName(arg.Type))
	}
	op, valid := currentDate{env: env}, false
	for name, v := range value.Fields(arg.Value) {
		if name != "$type" {
			return nil, mongoerr.New(mongoerr.BadValue, "Unrecognized $currentDate option: %s", name)
		}
		if v.Type != bson.TypeString {
			continue
		}
		switch value.AsString(v) {
		case "date":
			op.timestamp, valid = false, true
		case "timestamp":
			op.timestamp, valid = true, true
		}
	}
	if !valid {
		return nil, mongoerr.New(mongoerr.BadValue,
			"The '$type' string field is required to be 'date' or 'timestamp': {$currentDate: {field : {$type: 'date'}}}")
	}
	return op, nil
}

func (c currentDate) create(*run) (bson.RawValue, error) {
	now := time.Now()
	if c.env != nil && !c.env.Now.IsZero() {
		now = c.env.Now
	}
	switch {
	case !c.timestamp:
		return value.Time(now), nil
	case c.env != nil && c.env.ClusterTime.Type == bson.TypeTimestamp:
		return c.env.ClusterTime, nil
	}
	return value.Timestamp(uint32(now.Unix()), 1), nil
}

func (c currentDate) update(r *run, e *element) (outcome, error) {
	v, err := c.create(r)
	e.set(v)
	return changed, err
}

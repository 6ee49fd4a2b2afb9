package update

import (
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// An outcome is what an operator did to an element.
type outcome int

const (
	unchanged outcome = iota
	changed
	appended // elements were added to the end of an array
	removed
)

// An operator is one field operator with its argument.
type operator interface {
	// update changes an element that exists.
	update(r *run, e *element) (outcome, error)
}

// A creator is an operator that makes fields that don't exist.
type creator interface {
	operator
	// create gives the value of a new field.
	create(r *run) (bson.RawValue, error)
}

// A leaf applies an operator at the end of a path.
type leaf struct {
	op         operator
	insertOnly bool
}

func (l *leaf) apply(r *run, p place) (bool, error) {
	if l.insertOnly && !r.insert {
		return false, nil
	}
	if len(r.missing(p)) > 0 {
		return l.applyNew(r, p)
	}
	return l.applyExisting(r, p.e)
}

func (l *leaf) applyExisting(r *run, e *element) (bool, error) {
	left, right := e.siblings()
	did, err := l.op.update(r, e)
	if err != nil || did == unchanged {
		return false, err
	}
	if r.path[0] == "_id" {
		return false, mongoerr.New(mongoerr.ImmutableField,
			"Performing an update on the path '%s' would modify the immutable field '_id'", r.dotted())
	}
	if err := r.check(e, did, left, right); err != nil {
		return false, err
	}
	if r.log == nil {
		return true, nil
	}
	switch did {
	case removed:
		r.log.unset(r.dotted())
	case appended:
		n := len(l.op.(*push).values)
		first := len(e.kids) - n
		for i, k := range e.kids[first:] {
			r.log.set(r.dotted()+"."+itoa(first+i), k.value())
		}
	default:
		r.log.set(r.dotted(), e.value())
	}
	return true, nil
}

// check refuses what may not be stored.
func (r *run) check(e *element, did outcome, left, right *element) error {
	if !r.validate {
		return nil
	}
	if did != removed {
		return checkElement(e, len(r.path), true)
	}
	for _, s := range []*element{left, right} {
		if s == nil {
			continue
		}
		if err := checkElement(s, 0, false); err != nil {
			return err
		}
	}
	return nil
}

func (l *leaf) applyNew(r *run, p place) (bool, error) {
	op, creates := l.op.(creator)
	if !creates {
		return false, l.checkViable(r, p)
	}
	v, err := op.create(r)
	if err != nil {
		return false, err
	}
	first, last, err := createPath(p.e, r.missing(p), v)
	if err != nil {
		return false, err
	}
	if r.validate {
		if err := checkElement(first, p.depth+1, true); err != nil {
			return false, err
		}
	}
	if p.depth > 0 && r.path[0] == "_id" {
		return false, mongoerr.New(mongoerr.ImmutableField,
			"Updating the path '%s' to %s would modify the immutable field '_id'", strings.Join(r.taken(p), "."), p.e.describe())
	}
	if r.log != nil {
		r.log.set(r.dotted(), last.value())
	}
	return true, nil
}

// checkViable refuses paths that could never exist, for operators that leave
// alone what doesn't.
func (l *leaf) checkViable(r *run, p place) error {
	switch l.op.(type) {
	case unset, placeholder:
		return nil
	}
	missing := r.missing(p)
	if _, ok := position(missing[0]); p.e.isDoc() || p.e.isArray() && ok {
		return nil
	}
	return mongoerr.New(mongoerr.PathNotViable, "Cannot use the part (%s) of (%s) to traverse the element ({%s})",
		missing[0], r.dotted(), p.e.describe())
}

func itoa(n int) string { return strconv.Itoa(n) }

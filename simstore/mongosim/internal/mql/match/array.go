package match

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// An elemMatch looks for one array element that satisfies a filter: as a
// document, or as a value ({$elemMatch: {$gt: 1}}).
type elemMatch struct {
	n       node
	byValue bool
}

func (e *elemMatch) test(v bson.RawValue, st *state) bool {
	if v.Type != bson.TypeArray {
		return false
	}
	rest := value.Body(v.Value)
	for index := 0; ; index++ {
		_, x, tail, ok := value.Next(rest)
		if !ok {
			return false
		}
		rest = tail
		switch {
		case e.byValue:
			ok = untracked(e.n, asElement, x, st)
		case x.Type == bson.TypeEmbeddedDocument || x.Type == bson.TypeArray:
			// An array counts as a document with positions for names.
			ok = untracked(e.n, asDocument, x, st)
		default:
			ok = false
		}
		if ok {
			if st != nil && st.track {
				st.index = index
			}
			return true
		}
		if st.failed() {
			return false
		}
	}
}

func (e *elemMatch) optimizeLeaf(l *leaf) node {
	e.n = e.n.optimize()
	return l
}

// elemMatch parses the operand of $elemMatch.
func (p *parser) elemMatch(path string, operand bson.RawValue) (node, error) {
	if operand.Type != bson.TypeEmbeddedDocument {
		return nil, mongoerr.New(mongoerr.BadValue, "$elemMatch needs an Object")
	}
	if isOperatorDoc(operand, true) {
		first, _, _, _ := value.Next(value.Body(operand.Value))
		if pathlessOperator(first[1:]) == nil {
			all := &and{}
			if err := p.conditions("", operand.Value, all, levelElement); err != nil {
				return nil, err
			}
			return newLeaf(kindElemMatchValue, path, false, &elemMatch{n: all, byValue: true}), nil
		}
	}
	n, err := p.filter(operand.Value, levelElement)
	if err != nil {
		return nil, err
	}
	return newLeaf(kindElemMatchObject, path, false, &elemMatch{n: n}), nil
}

// all parses the operand of $all.
func (p *parser) all(path string, operand bson.RawValue) (node, error) {
	if operand.Type != bson.TypeArray {
		return nil, mongoerr.New(mongoerr.BadValue, "$all needs an array")
	}
	all := &and{}
	first := true
	ofElemMatch := false
	for _, v := range value.Elements(operand) {
		name, inner, _, _ := value.Next(value.Body(v.Value))
		isDoc := v.Type == bson.TypeEmbeddedDocument
		if first {
			ofElemMatch = isDoc && name == "$elemMatch"
			first = false
		}
		if ofElemMatch {
			if !isDoc || name != "$elemMatch" {
				return nil, mongoerr.New(mongoerr.BadValue, "$all/$elemMatch has to be consistent")
			}
			n, err := p.elemMatch(path, inner)
			if err != nil {
				return nil, err
			}
			all.nodes = append(all.nodes, n)
			continue
		}
		n, err := p.allElement(path, v, isDoc, name)
		if err != nil {
			return nil, err
		}
		all.nodes = append(all.nodes, n)
	}
	if len(all.nodes) == 0 {
		return constant(false), nil
	}
	return all, nil
}

func (p *parser) allElement(path string, v bson.RawValue, isDoc bool, name string) (node, error) {
	switch {
	case v.Type == bson.TypeRegex:
		pattern, options := value.AsRegex(v)
		return regexLeaf(path, pattern, options)
	case isDoc && IsPathOperator(name):
		return nil, mongoerr.New(mongoerr.BadValue, "no $ expressions in $all")
	}
	return comparisonLeaf(kindEq, path, v)
}

// A size is $size.
type size int

func (s size) test(v bson.RawValue, _ *state) bool {
	return v.Type == bson.TypeArray && value.Len(v) == int(s)
}

func parseSize(operand bson.RawValue) (size, error) {
	var n int32
	switch operand.Type {
	case bson.TypeInt32:
		n = value.AsInt32(operand)
	case bson.TypeInt64:
		long := value.AsInt64(operand)
		if n = int32(long); int64(n) != long {
			return 0, mongoerr.New(mongoerr.BadValue, "$size must be representable as a 32-bit integer")
		}
	case bson.TypeDouble:
		f := value.AsDouble(operand)
		if n = int32(truncated(operand)); float64(n) != f {
			return 0, mongoerr.New(mongoerr.BadValue, "$size must be a whole number")
		}
	default:
		return 0, mongoerr.New(mongoerr.BadValue, "$size needs a number")
	}
	if n < 0 {
		return 0, mongoerr.New(mongoerr.BadValue, "$size may not be negative")
	}
	return size(n), nil
}

// A modulo is $mod.
type modulo struct{ divisor, remainder int64 }

func (m modulo) test(v bson.RawValue, _ *state) bool {
	if !value.IsNumber(v) {
		return false
	}
	if m.divisor == -1 { // the smallest integer has no positive counterpart
		return m.remainder == 0
	}
	return modTerm(v)%m.divisor == m.remainder
}

// modTerm reads a number for $mod. A double that no integer holds, NaN too, is
// the smallest integer: so does the conversion that the server's processor
// makes.
func modTerm(v bson.RawValue) int64 {
	if v.Type == bson.TypeDouble {
		if f := value.AsDouble(v); !(f >= math.MinInt64 && f < 1<<63) {
			return math.MinInt64
		}
	}
	return truncated(v)
}

func parseModulo(operand bson.RawValue) (modulo, error) {
	malformed := func(what string) (modulo, error) {
		return modulo{}, mongoerr.New(mongoerr.BadValue, "malformed mod, %s", what)
	}
	if operand.Type != bson.TypeArray {
		return malformed("needs to be an array")
	}
	terms := value.Slice(operand)
	switch {
	case len(terms) == 0:
		return malformed("not enough elements")
	case !value.IsNumber(terms[0]):
		return malformed("divisor not a number")
	case len(terms) == 1:
		return malformed("not enough elements")
	case !value.IsNumber(terms[1]):
		return malformed("remainder not a number")
	case len(terms) > 2:
		return malformed("too many elements")
	}
	m := modulo{modTerm(terms[0]), modTerm(terms[1])}
	if m.divisor == 0 {
		return m, mongoerr.New(mongoerr.BadValue, "divisor cannot be 0")
	}
	return m, nil
}

package query

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The server sorts values of all types into one order, but its comparisons look
// only at values of the same class as their operand. A page that starts after a
// value must therefore ask for the greater values of its class, and for all
// values of the classes behind. This file knows the order of classes.

// A class is a set of types that compare with each other.
type class uint8

const (
	classMinKey class = iota
	classUndefined
	classNull
	classNumber
	classString
	classObject
	classBinary
	classObjectID
	classBool
	classDate
	classTimestamp
	classRegex
	classDBPointer
	classCode
	classScopedCode
	classMaxKey
	classes
)

// classTypes are the names that $type knows the members of a class by. Arrays
// are no class: the server sorts an array by one of its elements.
var classTypes = [classes][]Type{
	classMinKey:     {TypeMinKey},
	classUndefined:  {TypeUndefined},
	classNull:       {TypeNull},
	classNumber:     {TypeNumber},
	classString:     {TypeString, TypeSymbol},
	classObject:     {TypeObject},
	classBinary:     {TypeBinary},
	classObjectID:   {TypeObjectID},
	classBool:       {TypeBool},
	classDate:       {TypeDate},
	classTimestamp:  {TypeTimestamp},
	classRegex:      {TypeRegex},
	classDBPointer:  {TypeDBPointer},
	classCode:       {TypeJavaScript},
	classScopedCode: {TypeJSScope},
	classMaxKey:     {TypeMaxKey},
}

// classOf returns the class of a type that a cursor can hold.
func classOf(t bson.Type) class {
	switch t {
	case bson.TypeMinKey:
		return classMinKey
	case bson.TypeDouble, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128:
		return classNumber
	case bson.TypeString, bson.TypeSymbol:
		return classString
	case bson.TypeEmbeddedDocument:
		return classObject
	case bson.TypeBinary:
		return classBinary
	case bson.TypeObjectID:
		return classObjectID
	case bson.TypeBoolean:
		return classBool
	case bson.TypeDateTime:
		return classDate
	case bson.TypeTimestamp:
		return classTimestamp
	case bson.TypeMaxKey:
		return classMaxKey
	}
	return classNull
}

// pageable reports whether a document with a sort key of the type can be at
// the edge of a page. Arrays have no single place; the others can't be compared with.
func pageable(t bson.Type) bool {
	switch t {
	case bson.TypeNull, bson.TypeMinKey, bson.TypeMaxKey, bson.TypeDouble, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128,
		bson.TypeString, bson.TypeSymbol, bson.TypeEmbeddedDocument, bson.TypeBinary, bson.TypeObjectID, bson.TypeBoolean,
		bson.TypeDateTime, bson.TypeTimestamp:
		return true
	}
	return false
}

// beyond is the filter for everything that comes after the position in the
// order of the keys: greater in the first key, or equal in the first and
// greater in the second, and so on.
func beyond(keys []SortKey, p position) Filter {
	var alternatives []Filter
	for i, key := range keys {
		equal := make([]Filter, 0, i+1)
		for j := range i {
			equal = append(equal, equals(keys[j].path, p.values[j]))
		}
		for _, after := range afterKey(key, p.values[i]) {
			alternatives = append(alternatives, And(append(equal[:i:i], after)...))
		}
	}
	if p.inclusive {
		equal := make([]Filter, len(keys))
		for j := range keys {
			equal[j] = equals(keys[j].path, p.values[j])
		}
		alternatives = append(alternatives, And(equal...))
	}
	return Or(alternatives...)
}

// equals matches the value in the sense of the order: null and missing are one.
func equals(path string, v bson.RawValue) Filter {
	if v.Type == bson.TypeNull {
		return Filter{kind: kindBare, field: path}
	}
	return compareChecked(kindEq, path, v)
}

// afterKey are the alternatives for "this key comes after the value".
func afterKey(key SortKey, v bson.RawValue) []Filter {
	if key.descending {
		return less(key, v)
	}
	return greater(key, v)
}

func greater(key SortKey, v bson.RawValue) []Filter {
	own := classOf(v.Type)
	var out []Filter
	switch own {
	case classMinKey, classMaxKey, classNull:
	case classNumber:
		if isNaN(v) {
			// NaN is the least number, and no comparison but equality finds it.
			out = append(out, And(TypeOf(key.path, TypeNumber), Filter{kind: kindNe, field: key.path, value: v}))
			break
		}
		out = append(out, compareChecked(kindGt, key.path, v))
	default:
		out = append(out, compareChecked(kindGt, key.path, v))
	}
	if key.uniform {
		return out
	}
	return append(out, inClasses(key.path, own+1, classes)...)
}

func less(key SortKey, v bson.RawValue) []Filter {
	own := classOf(v.Type)
	var out []Filter
	switch own {
	case classMinKey, classMaxKey, classNull:
	case classNumber:
		if isNaN(v) {
			break
		}
		out = append(out, compareChecked(kindLt, key.path, v), Filter{kind: kindBare, field: key.path, value: math.NaN()})
	default:
		out = append(out, compareChecked(kindLt, key.path, v))
	}
	if key.uniform {
		return out
	}
	return append(out, inClasses(key.path, 0, own)...)
}

// inClasses matches values of the classes from (included) to (excluded).
func inClasses(path string, from, to class) []Filter {
	var types []Type
	var out []Filter
	for c := from; c < to; c++ {
		if c == classNull {
			// Equality with null finds missing fields as well, $type does not.
			out = append(out, Filter{kind: kindBare, field: path})
			continue
		}
		types = append(types, classTypes[c]...)
	}
	if len(types) > 0 {
		out = append(out, TypeOf(path, types...))
	}
	return out
}

func isNaN(v bson.RawValue) bool {
	switch v.Type {
	case bson.TypeDouble:
		return math.IsNaN(v.Double())
	case bson.TypeDecimal128:
		return v.Decimal128().IsNaN()
	}
	return false
}

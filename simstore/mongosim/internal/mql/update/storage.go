package update

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxStoredDepth is how deep a stored document may nest: what the server
// allows in a message, less some room for the messages around it.
const maxStoredDepth = 180

// CheckStorable refuses documents that may not be stored: fields that start
// with a dollar outside a DBRef, an _id of a type that can't be one, too deep
// nesting. Errors are *mongoerr.Error.
func CheckStorable(doc bson.Raw) error {
	for name, v := range value.Fields(doc) {
		if name != "_id" {
			continue
		}
		switch v.Type {
		case bson.TypeRegex, bson.TypeArray, bson.TypeUndefined:
			return mongoerr.New(mongoerr.InvalidIdField, "The '_id' value cannot be of type %s", value.TypeName(v.Type))
		}
	}
	return checkFields(doc, false, "", 1)
}

// checkFields checks all fields below a document or array at depth.
func checkFields(doc bson.Raw, array bool, path string, depth int) error {
	var before, last stored
	rest := value.Body(doc)
	for {
		key, v, tail, ok := value.Next(rest)
		if !ok {
			return nil
		}
		rest = tail
		if depth > maxStoredDepth {
			return errTooDeep()
		}
		cur := stored{key, v.Type}
		if !array && strings.HasPrefix(key, "$") {
			var next stored
			if k, nv, _, ok := value.Next(tail); ok {
				next = stored{k, nv.Type}
			}
			if err := checkDollar(before, last, cur, next, path); err != nil {
				return err
			}
		}
		if v.Type == bson.TypeEmbeddedDocument || v.Type == bson.TypeArray {
			if err := checkFields(v.Value, v.Type == bson.TypeArray, path+key+".", depth+1); err != nil {
				return err
			}
		}
		before, last = last, cur
	}
}

func errTooDeep() error {
	return mongoerr.New(mongoerr.Overflow, "Document exceeds maximum nesting depth of %d", maxStoredDepth)
}

// A stored field is what the check of its neighbours needs of it.
type stored struct {
	key string
	t   bson.Type
}

// checkDollar checks a field whose name starts with a dollar: only $ref, $id
// and $db in this order, as a DBRef, may be stored. last and before are the
// fields before it, next is the one after.
func checkDollar(before, last, cur, next stored, path string) error {
	at := cur
	if at.key == "$db" {
		if at.t != bson.TypeString {
			return mongoerr.New(mongoerr.InvalidDBRef, "The DBRef $db field must be a String, not a %s", value.TypeName(at.t))
		}
		if last.key != "$id" {
			return mongoerr.New(mongoerr.InvalidDBRef, "Found $db field without a $id before it, which is invalid.")
		}
		at, last, next = last, before, at
	}
	if at.key == "$id" {
		if last.key != "$ref" {
			return mongoerr.New(mongoerr.InvalidDBRef, "Found $id field without a $ref before it, which is invalid.")
		}
		at, next = last, at
	}
	if at.key != "$ref" {
		return mongoerr.New(mongoerr.DollarPrefixedFieldName,
			"The dollar ($) prefixed field '%s' in '%s' is not valid for storage.", cur.key, path+cur.key)
	}
	if at.t != bson.TypeString {
		return mongoerr.New(mongoerr.InvalidDBRef, "The DBRef $ref field must be a String, not a %s", value.TypeName(at.t))
	}
	if next.key != "$id" {
		return mongoerr.New(mongoerr.InvalidDBRef, "The DBRef $ref field must be followed by a $id field")
	}
	return nil
}

// checkElement checks an element that an update has set at depth, and what is
// below it.
func checkElement(e *element, depth int, deep bool) error {
	if depth > maxStoredDepth {
		return errTooDeep()
	}
	if e.parent != nil && !e.parent.isArray() && strings.HasPrefix(e.key, "$") {
		if err := checkDollarElement(e); err != nil {
			return err
		}
	}
	if !deep || !e.isArray() && !e.isDoc() {
		return nil
	}
	return checkFields(e.value().Value, e.isArray(), strings.Join(pathOf(e), ".")+".", depth+1)
}

func checkDollarElement(e *element) error {
	describe := func(e *element) stored {
		if e == nil {
			return stored{}
		}
		return stored{e.key, e.typ()}
	}
	left, right := e.siblings()
	var before *element
	if left != nil {
		before, _ = left.siblings()
	}
	prefix := strings.TrimSuffix(strings.Join(pathOf(e), "."), e.key)
	return checkDollar(describe(before), describe(left), describe(e), describe(right), prefix)
}

// pathOf gives the names that lead to an element.
func pathOf(e *element) []string {
	if e.parent == nil {
		return nil
	}
	return append(pathOf(e.parent), e.key)
}

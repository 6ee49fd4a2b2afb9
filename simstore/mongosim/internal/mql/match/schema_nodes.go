package match

import (
	"slices"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// An objectMatch applies a node to the document that a path leads to.
type objectMatch struct{ n node }

func (o *objectMatch) test(v bson.RawValue, st *state) bool {
	return v.Type == bson.TypeEmbeddedDocument && untracked(o.n, asDocument, v, st)
}

func (o *objectMatch) optimizeLeaf(l *leaf) node {
	o.n = o.n.optimize()
	return l
}

// A documentTest looks at a whole document.
type documentTest struct {
	matches func(doc bson.Raw, st *state) bool
}

func (d *documentTest) kind() kind       { return kindSchema }
func (d *documentTest) pathText() string { return "" }
func (d *documentTest) children() []node { return nil }
func (d *documentTest) optimize() node   { return d }

func (d *documentTest) eval(_ view, x bson.RawValue, st *state) bool {
	return x.Type == bson.TypeEmbeddedDocument && d.matches(x.Value, st)
}

// allowedProperties checks every field of a document by its name.
type allowedProperties struct {
	named     map[string]bool
	patterns  []patternProperty
	otherwise node
}

type patternProperty struct {
	re *regex
	n  node
}

func (a *allowedProperties) matches(doc bson.Raw, st *state) bool {
	for name, v := range value.Fields(doc) {
		known := a.named[name]
		for _, p := range a.patterns {
			if !p.re.matches(name) {
				continue
			}
			known = true
			if !untracked(p.n, asWrapped, v, st) {
				return false
			}
		}
		if !known && !untracked(a.otherwise, asWrapped, v, st) {
			return false
		}
	}
	return true
}

// itemsFrom applies a schema to all elements from a position on.
type itemsFrom struct {
	from int
	n    node
}

func (t *itemsFrom) test(v bson.RawValue, st *state) bool {
	if v.Type != bson.TypeArray {
		return false
	}
	for i, x := range value.Elements(v) {
		if i >= t.from && !untracked(t.n, asWrapped, x, st) {
			return false
		}
	}
	return true
}

// itemAt applies a schema to the element at a position, if there is one.
type itemAt struct {
	index int
	n     node
}

func (t *itemAt) test(v bson.RawValue, st *state) bool {
	if v.Type != bson.TypeArray {
		return false
	}
	x := value.Index(v, t.index)
	return x.Type == 0 || untracked(t.n, asWrapped, x, st)
}

type minItems int64

func (n minItems) test(v bson.RawValue, _ *state) bool {
	return v.Type == bson.TypeArray && int64(value.Len(v)) >= int64(n)
}

type maxItems int64

func (n maxItems) test(v bson.RawValue, _ *state) bool {
	return v.Type == bson.TypeArray && int64(value.Len(v)) <= int64(n)
}

type minLength int64

func (n minLength) test(v bson.RawValue, _ *state) bool {
	return v.Type == bson.TypeString && int64(utf8.RuneCountInString(value.AsString(v))) >= int64(n)
}

type maxLength int64

func (n maxLength) test(v bson.RawValue, _ *state) bool {
	return v.Type == bson.TypeString && int64(utf8.RuneCountInString(value.AsString(v))) <= int64(n)
}

// multiple demands numbers without a remainder.
type multiple struct{ of value.Decimal }

func (m multiple) test(v bson.RawValue, _ *state) bool {
	if !value.IsNumber(v) {
		return false
	}
	d := value.ToDecimal(v)
	return d.IsFinite() && d.Rem(m.of).IsZero()
}

// uniqueItems demands arrays without equal elements; the order of fields in
// them doesn't count.
type uniqueItems struct{}

func (uniqueItems) test(v bson.RawValue, _ *state) bool {
	if v.Type != bson.TypeArray {
		return false
	}
	sorted := value.Slice(v)
	for i, x := range sorted {
		sorted[i] = orderedFields(x)
	}
	slices.SortFunc(sorted, value.Compare)
	for i := 1; i < len(sorted); i++ {
		if value.Compare(sorted[i-1], sorted[i]) == 0 {
			return false
		}
	}
	return true
}

// equalTo is one choice of an enum.
type equalTo struct{ v bson.RawValue }

func (e equalTo) test(v bson.RawValue, _ *state) bool { return v.Type != 0 && equalUnordered(v, e.v) }

func equalUnordered(a, b bson.RawValue) bool {
	return value.Compare(orderedFields(a), orderedFields(b)) == 0
}

// orderedFields rewrites a value so that the fields of all documents in it
// are in the order of their names.
func orderedFields(v bson.RawValue) bson.RawValue {
	switch v.Type {
	case bson.TypeArray:
		var out value.Arr
		for _, x := range value.Elements(v) {
			out.Add(orderedFields(x))
		}
		return out.Value()
	case bson.TypeEmbeddedDocument:
		type namedField struct {
			name string
			v    bson.RawValue
		}
		var fields []namedField
		for name, x := range value.Fields(v.Value) {
			fields = append(fields, namedField{name, orderedFields(x)})
		}
		slices.SortStableFunc(fields, func(a, b namedField) int {
			switch {
			case a.name < b.name:
				return -1
			case a.name > b.name:
				return 1
			}
			return 0
		})
		var out value.Object
		for _, f := range fields {
			out.Add(f.name, f.v)
		}
		return out.Value()
	}
	return v
}

// encryptedData demands the binary subtype of encrypted values.
type encryptedData struct{}

func (encryptedData) test(v bson.RawValue, _ *state) bool {
	subtype, _ := value.AsBinary(v)
	return v.Type == bson.TypeBinary && subtype == 6
}

package urlfilter

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
)

// A Type is how the values of a field are written in a URL.
type Type uint8

// The types.
const (
	// String is any text.
	String Type = iota + 1
	// Int is a whole number of 64 bits.
	Int
	// Float is a number.
	Float
	// Decimal is a number with decimal places, kept exactly.
	Decimal
	// Bool is true or false.
	Bool
	// Time is RFC 3339, or a date, which means its midnight in UTC.
	Time
	// ObjectID is 24 hexadecimal digits.
	ObjectID
	// UUID is a UUID, stored as binary of subtype 4.
	UUID
)

func (t Type) valid() bool { return t >= String && t <= UUID }

// A Field is one that may be asked for.
type Field struct {
	// Name is the name in the URL: letters, digits, underscores, hyphens and dots.
	Name string
	// Path is the dotted path in the stored documents; empty: the same as Name.
	Path string
	// Type is how values are written.
	Type Type
	// Ops are the allowed operators; none means all that the type has: text has eq, ne, in, nin, exists and prefix
	// (contains and suffix read the whole index and must be allowed by name); bool, ids and text with an Enum eq, ne, in, nin
	// and exists; the others comparisons as well.
	Ops []Op
	// Enum, if not empty, are the only allowed values, as written in the URL, with every operator but exists.
	Enum []string
	// Sortable allows to sort by the field.
	Sortable bool
	// Uniform is passed on to query.SortKey.Uniform.
	Uniform bool
	// Parse, if set, reads a value in place of Type's own way. Its error is shown to the caller.
	Parse func(string) (any, error)
}

// For makes a Field out of a typed field of package query: its path and type come
// with it, and change with it.
func For[T any](name string, f query.Field[T]) Field {
	field := Field{Name: name, Path: f.Path(), Type: typeFor[T]()}
	if err := f.Err(); err != nil {
		field.Path = "" // New complains of a field without a type or a path
		field.Type = 0
	}
	return field
}

// ForString is For for a StringField.
func ForString[T ~string](name string, f query.StringField[T]) Field {
	field := For(name, f.Field)
	if f.Err() == nil {
		field.Type = String
	}
	return field
}

// ForArray is For for the elements of an array.
func ForArray[E any](name string, f query.ArrayField[E]) Field {
	return For(name, query.NewField[E](f.Path()))
}

// AsSortable returns the field with Sortable set.
func (f Field) AsSortable() Field {
	f.Sortable = true
	return f
}

// WithOps returns the field with these operators.
func (f Field) WithOps(ops ...Op) Field {
	f.Ops = slices.Clone(ops)
	return f
}

// WithEnum returns the field with these values.
func (f Field) WithEnum(values ...string) Field {
	f.Enum = slices.Clone(values)
	return f
}

// typeFor knows the types that a URL can write; 0 for all others.
func typeFor[T any]() Type {
	t := reflect.TypeFor[T]()
	switch t {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[bson.DateTime]():
		return Time
	case reflect.TypeFor[bson.ObjectID]():
		return ObjectID
	case reflect.TypeFor[bson.Decimal128]():
		return Decimal
	}
	switch t.Kind() {
	case reflect.String:
		return String
	case reflect.Bool:
		return Bool
	case reflect.Float32, reflect.Float64:
		return Float
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return Int
	}
	return 0
}

func (f *Field) check() error {
	if f.Name == "" {
		return errors.New("the name is empty")
	}
	for _, c := range f.Name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_-.", c) {
			return fmt.Errorf("the name has %q in it", c)
		}
	}
	if f.Name[0] == '-' {
		return errors.New("the name starts with a hyphen")
	}
	if !f.Type.valid() && f.Parse == nil {
		return errors.New("it has no type: set Type or Parse")
	}
	if f.Path == "" {
		f.Path = f.Name
	}
	if err := query.Exists(f.Path).Err(); err != nil {
		return err
	}
	for _, op := range f.Ops {
		if !slices.Contains(allOps, op) {
			return fmt.Errorf("there is no operator %q", op)
		}
		if textual(op) && f.Type != String {
			return fmt.Errorf("operator %q is for strings", op)
		}
	}
	for _, e := range f.Enum {
		if _, err := f.parse(e); err != nil {
			return fmt.Errorf("a value of Enum: %w", err)
		}
	}
	return nil
}

var allOps = []Op{Eq, Ne, Gt, Gte, Lt, Lte, In, Nin, Exists, Prefix, Suffix, Contains}

func textual(op Op) bool { return op == Prefix || op == Suffix || op == Contains }

func (f Field) ops() []Op {
	if len(f.Ops) > 0 {
		return f.Ops
	}
	switch f.Type {
	case String:
		if len(f.Enum) > 0 {
			return []Op{Eq, Ne, In, Nin, Exists}
		}
		return []Op{Eq, Ne, In, Nin, Exists, Prefix}
	case Bool, ObjectID, UUID:
		return []Op{Eq, Ne, In, Nin, Exists}
	}
	return []Op{Eq, Ne, Gt, Gte, Lt, Lte, In, Nin, Exists}
}

func (f Field) sortKey(k query.SortKey) query.SortKey {
	if f.Uniform {
		return k.Uniform()
	}
	return k
}

// parse reads one value. Its errors say what is wanted and don't repeat what came.
func (f Field) parse(text string) (any, error) {
	switch {
	case len(text) > MaxValueLength:
		return nil, fmt.Errorf("a value is longer than %d bytes", MaxValueLength)
	case !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0:
		return nil, errors.New("a value is not valid text")
	case len(f.Enum) > 0 && !slices.Contains(f.Enum, text):
		return nil, fmt.Errorf("want one of: %s", strings.Join(f.Enum, ", "))
	case f.Parse != nil:
		return f.Parse(text)
	}
	switch f.Type {
	case Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errors.New("want a whole number")
		}
		return n, nil
	case Float:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || strings.ContainsAny(text, "xX_") {
			return nil, errors.New("want a number")
		}
		return x, nil
	case Decimal:
		d, err := bson.ParseDecimal128(text)
		if err != nil || d.IsNaN() || d.IsInf() != 0 {
			return nil, errors.New("want a decimal number")
		}
		return d, nil
	case Bool:
		switch text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, errors.New("want true or false")
	case Time:
		return parseTime(text)
	case ObjectID:
		id, err := bson.ObjectIDFromHex(text)
		if err != nil {
			return nil, errors.New("want an id of 24 hexadecimal digits")
		}
		return id, nil
	case UUID:
		return parseUUID(text)
	}
	return text, nil
}

func parseTime(text string) (any, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return nil, errors.New("want a time such as 2024-05-01T12:30:00Z, or a date such as 2024-05-01")
}

func parseUUID(text string) (any, error) {
	bad := errors.New("want a UUID")
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return nil, bad
	}
	digits := strings.ReplaceAll(text, "-", "")
	data := make([]byte, 0, 16)
	for i := 0; i+2 <= len(digits); i += 2 {
		b, err := strconv.ParseUint(digits[i:i+2], 16, 8)
		if err != nil {
			return nil, bad
		}
		data = append(data, byte(b))
	}
	if len(data) != 16 {
		return nil, bad
	}
	return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: data}, nil
}

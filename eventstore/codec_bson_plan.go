package eventstore

import (
	"encoding"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Types of BSON values, as they stand before an element's name.
const (
	bsonDouble    = 0x01
	bsonString    = 0x02
	bsonDocument  = 0x03
	bsonArray     = 0x04
	bsonBinary    = 0x05
	bsonUndefined = 0x06
	bsonObjectID  = 0x07
	bsonBoolean   = 0x08
	bsonDateTime  = 0x09
	bsonNull      = 0x0A
	bsonRegex     = 0x0B
	bsonDBPointer = 0x0C
	bsonCode      = 0x0D
	bsonSymbol    = 0x0E
	bsonCodeScope = 0x0F
	bsonInt32     = 0x10
	bsonTimestamp = 0x11
	bsonInt64     = 0x12
	bsonDecimal   = 0x13
	bsonMaxKey    = 0x7F
	bsonMinKey    = 0xFF
)

// A bsonPlan is how values of one type are written and read. A plan without
// functions leaves that to the driver.
type bsonPlan struct {
	// refused says which tag would not be heeded; err is the same as an error.
	refused string
	err     error
	// encode appends a value as a document.
	encode func(buf []byte, v reflect.Value) ([]byte, bool)
	// decode reads a value of a BSON type.
	decode bsonDecodeFunc
}

// A bsonEncodeFunc appends an element: its type, its key, which ends in NUL, and
// its value. It returns false for what is to be left to the driver.
type bsonEncodeFunc func(buf []byte, key string, v reflect.Value) ([]byte, bool)

// A bsonDecodeFunc reads a value of a BSON type into v, which is settable. It
// returns false for what is to be left to the driver. Data was validated before.
type bsonDecodeFunc func(r *bsonReader, typ byte, v reflect.Value) bool

// A bsonCoder writes and reads the values of one type. It is filled in once the
// types that it is made of are known, which for a recursive type is after it is
// first referred to.
type bsonCoder struct {
	encode bsonEncodeFunc
	decode bsonDecodeFunc
	// empty says what omitempty omits.
	empty func(reflect.Value) bool
}

// planType returns the plan of a type.
func planType(t reflect.Type) *bsonPlan {
	if (t.Kind() != reflect.Struct || t == timeType) && t.Kind() != reflect.Map {
		return &bsonPlan{} // no document
	}
	p := planner{coders: map[reflect.Type]*bsonCoder{}}
	coder := p.coder(t)
	if p.unusual && p.refused == "" && p.omitsZero != "" {
		p.refused = p.omitsZero + " has the option omitzero, which BSON honours only in types without fields of interface types, arrays, " +
			"types that write themselves, and the options inline, minsize and truncate; use omitempty, or a pointer with it"
	}
	if p.refused != "" {
		return &bsonPlan{refused: p.refused, err: &InvalidError{What: "type " + t.String(), Reason: "cannot be stored: " + p.refused}}
	}
	if p.unusual {
		return &bsonPlan{}
	}
	plan := &bsonPlan{decode: coder.decode}
	if t.Kind() == reflect.Struct {
		fields := p.structs[t]
		plan.encode = fields.encode
	} else {
		elem := p.coder(t.Elem())
		plan.encode = func(buf []byte, v reflect.Value) ([]byte, bool) { return encodeMap(buf, v, elem) }
	}
	return plan
}

// A planner finds out how a type and all that it is made of are written.
type planner struct {
	coders  map[reflect.Type]*bsonCoder
	structs map[reflect.Type]*bsonStruct
	// unusual is set when something is not known to be written as the driver
	// does, and hence left to it.
	unusual bool
	// refused says which field has a tag that neither this codec nor the driver
	// heeds.
	refused string
	// omitsZero is a field with the option omitzero, which the driver ignores.
	omitsZero string
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	byteType   = reflect.TypeFor[byte]()
	zeroerType = reflect.TypeFor[bson.Zeroer]()

	// customTypes are the interfaces of types that write or read themselves.
	customTypes = [...]reflect.Type{
		reflect.TypeFor[bson.Marshaler](), reflect.TypeFor[bson.Unmarshaler](),
		reflect.TypeFor[bson.ValueMarshaler](), reflect.TypeFor[bson.ValueUnmarshaler](),
	}
	customKeys = [...]reflect.Type{
		reflect.TypeFor[bson.KeyUnmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	}
)

func implementsAny(t reflect.Type, interfaces []reflect.Type) bool {
	for _, i := range interfaces {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

// ofDriver reports whether the driver has a codec for just this type.
func ofDriver(t reflect.Type) bool {
	return strings.HasPrefix(t.PkgPath(), "go.mongodb.org/mongo-driver/") ||
		t == reflect.TypeFor[json.Number]() || t == reflect.TypeFor[url.URL]()
}

func (p *planner) coder(t reflect.Type) *bsonCoder {
	if c, ok := p.coders[t]; ok {
		return c
	}
	c := &bsonCoder{}
	p.coders[t] = c
	if ofDriver(t) || implementsAny(t, customTypes[:]) {
		p.unusual = true
		return c
	}
	p.fill(c, t)
	if t != timeType && t != reflect.PointerTo(timeType) && t.Implements(zeroerType) {
		c.empty = nil // its own method would have to be asked
	}
	return c
}

func (p *planner) fill(c *bsonCoder, t reflect.Type) {
	c.empty = reflect.Value.IsZero
	switch t.Kind() {
	case reflect.Bool:
		c.encode, c.decode = encodeBool, decodeBool
	case reflect.Int8, reflect.Int16, reflect.Int32:
		c.encode, c.decode = encodeInt32, decodeInt
	case reflect.Int:
		c.encode, c.decode = encodeInt, decodeInt
	case reflect.Int64:
		c.encode, c.decode = encodeInt64, decodeInt
	case reflect.Uint8, reflect.Uint16:
		c.encode, c.decode = encodeUint16, decodeUint
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		c.encode, c.decode = encodeUint64, decodeUint
	case reflect.Float32, reflect.Float64:
		c.encode, c.decode = encodeFloat, decodeFloat
	case reflect.String:
		c.encode, c.decode = encodeString, decodeString
	case reflect.Struct:
		p.fillStruct(c, t)
	case reflect.Pointer:
		p.fillPointer(c, t)
	case reflect.Slice:
		c.empty = isEmptyLen
		p.fillSlice(c, t)
	case reflect.Array:
		c.empty = isEmptyLen
		c.encode, c.decode = encodeByteArray, decodeByteArray
		if t.Elem() != byteType {
			p.unusual = true
			p.coder(t.Elem()) // for the tags in it
		}
	case reflect.Map:
		c.empty = isEmptyLen
		p.fillMap(c, t)
	default:
		p.unusual = true
	}
}

func isEmptyLen(v reflect.Value) bool { return v.Len() == 0 }

func (p *planner) fillStruct(c *bsonCoder, t reflect.Type) {
	if t == timeType {
		c.encode, c.decode, c.empty = encodeTime, decodeTime, isZeroTime
		return
	}
	c.empty = func(reflect.Value) bool { return false } // as the driver has it
	s := p.planStruct(t)
	c.decode = s.decode
	c.encode = func(buf []byte, key string, v reflect.Value) ([]byte, bool) {
		return s.encode(appendHead(buf, bsonDocument, key), v)
	}
}

func (p *planner) fillPointer(c *bsonCoder, t reflect.Type) {
	elem := p.coder(t.Elem())
	c.empty = reflect.Value.IsNil
	if t.Elem() == timeType {
		c.empty = func(v reflect.Value) bool { return v.IsNil() || isZeroTime(v.Elem()) }
	}
	c.encode = func(buf []byte, key string, v reflect.Value) ([]byte, bool) {
		if v.IsNil() {
			return appendHead(buf, bsonNull, key), true
		}
		return elem.encode(buf, key, v.Elem())
	}
	c.decode = func(r *bsonReader, typ byte, v reflect.Value) bool {
		if typ == bsonNull {
			v.SetZero()
			return true
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return elem.decode(r, typ, v.Elem())
	}
}

func (p *planner) fillSlice(c *bsonCoder, t reflect.Type) {
	if t.Elem() == byteType {
		c.encode, c.decode = encodeBytes, decodeBytes
		return
	}
	elem := p.coder(t.Elem())
	c.encode = func(buf []byte, key string, v reflect.Value) ([]byte, bool) { return encodeSlice(buf, key, v, elem) }
	c.decode = func(r *bsonReader, typ byte, v reflect.Value) bool { return decodeSlice(r, typ, v, elem) }
}

func (p *planner) fillMap(c *bsonCoder, t reflect.Type) {
	if t.Key().Kind() != reflect.String || implementsAny(t.Key(), customKeys[:]) {
		p.unusual = true
	}
	elem := p.coder(t.Elem())
	c.encode = func(buf []byte, key string, v reflect.Value) ([]byte, bool) {
		if v.IsNil() {
			return appendHead(buf, bsonNull, key), true
		}
		return encodeMap(appendHead(buf, bsonDocument, key), v, elem)
	}
	c.decode = func(r *bsonReader, typ byte, v reflect.Value) bool { return decodeMap(r, typ, v, elem) }
}

// A bsonStruct is how a struct type is written: its exported fields in their
// order.
type bsonStruct struct {
	fields []bsonField
	byName map[string]int // index into fields
}

type bsonField struct {
	name      string
	key       string // the name, ending in NUL
	index     int
	omitEmpty bool
	isZero    func(reflect.Value) bool // says what omitzero omits, nil without it
	coder     *bsonCoder
}

func (p *planner) planStruct(t reflect.Type) *bsonStruct {
	s := &bsonStruct{byName: map[string]int{}}
	if p.structs == nil {
		p.structs = map[reflect.Type]*bsonStruct{}
	}
	p.structs[t] = s
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		name, options, skip := fieldTag(f)
		if skip {
			continue
		}
		field := bsonField{name: name, key: name + "\x00", index: i, coder: p.coder(f.Type)}
		for i, option := range options {
			switch {
			case option == "omitempty":
				field.omitEmpty = true
			case option == "minsize" || option == "truncate" || option == "inline":
				p.unusual = true
			case i == 0: // the name, which only the driver's own options can be mistaken for
			case option == "omitzero":
				field.isZero = zeroTest(f.Type)
				p.omitsZero = t.String() + "." + f.Name
			case option == "string":
				p.refused = t.String() + "." + f.Name + " has the option string, which BSON does not know; take it out, or give the field a bson tag"
			}
		}
		if field.omitEmpty && field.coder.empty == nil {
			p.unusual = true
		}
		if _, ok := s.byName[name]; ok || strings.IndexByte(name, 0) >= 0 {
			p.unusual = true // an error, which the driver words
		}
		s.byName[name] = len(s.fields)
		s.fields = append(s.fields, field)
	}
	return s
}

// fieldTag reads a field's tag by the driver's rules: bson before json, a tag
// without a key as a whole, and the lower-case name where there is none. The name
// itself counts as an option too.
func fieldTag(f reflect.StructField) (name string, options []string, skip bool) {
	tag, ok := f.Tag.Lookup("bson")
	if !ok {
		tag, ok = f.Tag.Lookup("json")
	}
	if !ok && !strings.Contains(string(f.Tag), ":") {
		tag = string(f.Tag)
	}
	if tag == "-" {
		return "", nil, true
	}
	options = strings.Split(tag, ",")
	if name = options[0]; name == "" {
		name = strings.ToLower(f.Name)
	}
	return name, options, false
}

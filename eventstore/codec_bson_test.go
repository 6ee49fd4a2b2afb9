package eventstore

import (
	"bytes"
	"encoding/json"
	"math"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"
)

type (
	namedString string
	namedInt    int
	namedFloat  float32
	namedBytes  []byte
	namedByte   byte
	namedBool   bool
	namedSlice  []namedString
	namedMap    map[namedString]*namedInt
)

type nested struct {
	A string
	B *nested `json:"b,omitempty"`
	C []nested
	D map[string]nested `bson:"d,omitempty"`
}

// everything has all that the codec writes by itself.
type everything struct {
	Bool     bool  `json:"bool"`
	Int      int   `json:"int,omitempty"`
	Int8     int8  `json:"i8"`
	Int16    int16 `json:"i16"`
	Int32    int32 `json:"i32"`
	Int64    int64 `json:"i64,omitempty"`
	Uint     uint
	Uint8    uint8
	Uint16   uint16
	Uint32   uint32 `json:",omitempty"`
	Uint64   uint64
	Float32  float32 `bson:"f32" json:"other"`
	Float64  float64
	String   string `json:"string,omitempty"`
	Bytes    []byte
	Raw      namedBytes `json:",omitempty"`
	Time     time.Time
	Maybe    time.Time  `json:"maybe,omitempty"`
	When     *time.Time `json:"when,omitempty"`
	ID       uuid.UUID
	Short    [3]byte `json:"short"`
	Ptr      *string
	PtrPtr   **int `json:"pp,omitempty"`
	Struct   nested
	Omitted  nested `json:",omitempty"`
	Structs  []nested
	Pointers []*nested
	Strings  []string `json:"strings,omitempty"`
	Times    []time.Time
	Matrix   [][]int
	Blobs    [][]byte
	Map      map[string]string
	Named    namedMap `json:"named,omitempty"`
	Nested   map[string][]map[string]bool
	S        namedString
	I        namedInt
	F        namedFloat
	B        namedBool
	Bs       []namedByte
	Ss       namedSlice
	Skipped  string `json:"-"`
	Dash     string `bson:"-,"`
	Tagged   string
	hidden   string
}

func drawNested(t *rapid.T, depth int) nested {
	n := nested{A: rapid.String().Draw(t, "a")}
	if depth == 0 {
		return n
	}
	if rapid.Bool().Draw(t, "b") {
		b := drawNested(t, depth-1)
		n.B = &b
	}
	for range rapid.IntRange(0, 3).Draw(t, "c") {
		n.C = append(n.C, drawNested(t, depth-1))
	}
	if rapid.Bool().Draw(t, "d") {
		n.D = map[string]nested{rapid.StringN(0, 5, -1).Filter(noNUL).Draw(t, "key"): drawNested(t, depth-1)}
	}
	return n
}

func noNUL(s string) bool { return strings.IndexByte(s, 0) < 0 }

func drawTime(t *rapid.T) time.Time {
	return time.Unix(rapid.Int64Range(-1e11, 1e11).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos"))
}

func drawMaybe[T any](t *rapid.T, draw func(*rapid.T) T) *T {
	if rapid.Bool().Draw(t, "nil") {
		return nil
	}
	v := draw(t)
	return &v
}

func drawEverything(t *rapid.T) everything {
	text := rapid.String()
	e := everything{
		Bool: rapid.Bool().Draw(t, ""), Int: rapid.Int().Draw(t, ""), Int8: rapid.Int8().Draw(t, ""), Int16: rapid.Int16().Draw(t, ""),
		Int32: rapid.Int32().Draw(t, ""), Int64: rapid.Int64().Draw(t, ""), Uint: rapid.UintRange(0, math.MaxInt64).Draw(t, ""),
		Uint8: rapid.Uint8().Draw(t, ""), Uint16: rapid.Uint16().Draw(t, ""), Uint32: rapid.Uint32().Draw(t, ""),
		Uint64: rapid.Uint64Range(0, math.MaxInt64).Draw(t, ""), Float32: rapid.Float32().Draw(t, ""), Float64: rapid.Float64().Draw(t, ""),
		String: text.Draw(t, ""), Bytes: rapid.SliceOf(rapid.Byte()).Draw(t, ""), Raw: rapid.SliceOf(rapid.Byte()).Draw(t, ""),
		Time: drawTime(t), When: drawMaybe(t, drawTime), ID: uuid.New(), Short: [3]byte{1, 2, 3},
		Ptr:    drawMaybe(t, func(t *rapid.T) string { return text.Draw(t, "") }),
		PtrPtr: drawMaybe(t, func(t *rapid.T) *int { return drawMaybe(t, func(t *rapid.T) int { return rapid.Int().Draw(t, "") }) }),
		Struct: drawNested(t, 2), Strings: rapid.SliceOf(text).Draw(t, ""), Times: []time.Time{drawTime(t), {}},
		Matrix: rapid.SliceOf(rapid.SliceOf(rapid.Int())).Draw(t, ""), Blobs: [][]byte{nil, {}, {1}},
		Pointers: []*nested{nil, {A: "x"}}, S: "named", I: 7, F: 1.5, B: true, Bs: []namedByte{1, 2}, Ss: namedSlice{"x"},
		Skipped: "skipped", Dash: "dash", Tagged: "tagged", hidden: "hidden",
	}
	if rapid.Bool().Draw(t, "maps") {
		// One key each: the order of more is anyone's.
		n := namedInt(3)
		e.Map = map[string]string{text.Filter(noNUL).Draw(t, ""): text.Draw(t, "")}
		e.Named = namedMap{"k": &n}
		e.Nested = map[string][]map[string]bool{"x": {nil, {}, {"y": true}}}
		e.Maybe = drawTime(t)
	}
	if rapid.Bool().Draw(t, "empty") {
		e.Bytes, e.Strings, e.Map, e.Structs = []byte{}, []string{}, map[string]string{}, []nested{}
	}
	return e
}

// driverMarshal and driverUnmarshal are the codec without plans.
func driverMarshal(v any) ([]byte, error) { return NewBSONCodec().(*bsonCodec).marshalByDriver(v) }

func driverUnmarshal(data []byte, v any) error {
	d := bson.NewDecoder(bson.NewDocumentReader(bytes.NewReader(data)))
	d.SetRegistry(bson.NewRegistry())
	d.UseJSONStructTags()
	d.DefaultDocumentMap()
	return d.Decode(v)
}

var compare = cmp.Options{cmp.AllowUnexported(everything{})}

func TestBSONCodecAgreesWithTheDriver(t *testing.T) {
	t.Parallel()
	codec := NewBSONCodec().(*bsonCodec)
	rapid.Check(t, func(t *rapid.T) {
		v := drawEverything(t)
		require.NotNil(t, codec.plan(reflect.TypeOf(v)).encode, "the type has become unusual: nothing is compared")
		data, err := codec.Marshal(v)
		require.NoError(t, err)
		expected, err := driverMarshal(v)
		require.NoError(t, err)
		require.Equal(t, bson.Raw(expected).String(), bson.Raw(data).String())
		require.Equal(t, expected, data)
		viaPointer, err := codec.Marshal(&v)
		require.NoError(t, err)
		require.Equal(t, expected, viaPointer)

		var got, want everything
		planned, err := codec.unmarshalPlanned(data, &got)
		require.NoError(t, err)
		require.True(t, planned)
		require.NoError(t, driverUnmarshal(data, &want))
		require.Empty(t, cmp.Diff(want, got, compare))
	})
}

func TestBSONCodecDecodesWhatOthersWrote(t *testing.T) {
	t.Parallel()
	type target struct {
		N     int8              `json:"n"`
		U     uint16            `json:"u"`
		F     float32           `json:"f"`
		S     string            `json:"s"`
		B     bool              `json:"b"`
		T     time.Time         `json:"t"`
		L     []string          `json:"l"`
		M     map[string]int    `json:"m"`
		D     nested            `json:"d"`
		P     *nested           `json:"p"`
		Bytes []byte            `json:"bytes"`
		ID    uuid.UUID         `json:"id"`
		Str   map[string]string `json:"str"`
	}
	codec := NewBSONCodec()
	names := []string{"n", "u", "f", "s", "b", "t", "l", "m", "d", "p", "bytes", "id", "str", "N", "S", "unknown"}
	values := []any{
		nil, true, false, int32(5), int32(-5), int64(300), int64(math.MaxInt64), 1.0, 1.5, 1e300, math.NaN(), "text", "2020-01-01T00:00:00Z",
		bson.DateTime(-1),
		bson.Timestamp{T: 1, I: 2},
		bson.NewObjectID(),
		bson.Undefined{},
		bson.MinKey{},
		bson.MaxKey{},
		bson.Binary{Data: []byte{1, 2}},
		bson.Binary{Subtype: 2, Data: []byte{1, 2}},
		bson.Binary{Subtype: 4, Data: make([]byte, 16)},
		bson.Binary{Data: make([]byte, 17)},
		bson.Regex{Pattern: "a", Options: "i"},
		bson.JavaScript("x"), bson.Symbol("sym"),
		bson.Null{},
		bson.CodeWithScope{Code: "x", Scope: bson.D{{Key: "a", Value: 1}}},
		bson.DBPointer{DB: "x"},
		bson.NewDecimal128(1, 2),
		bson.A{},
		bson.A{"a", "b"},
		bson.A{1, nil},
		bson.D{},
		bson.D{{Key: "a", Value: "x"}, {Key: "b", Value: nil}},
		bson.D{{Key: "x", Value: int32(1)}},
	}
	rapid.Check(t, func(t *rapid.T) {
		doc := bson.D{}
		for range rapid.IntRange(0, 8).Draw(t, "fields") {
			doc = append(doc, bson.E{
				Key: rapid.SampledFrom(names).Draw(t, "name"), Value: values[rapid.IntRange(0, len(values)-1).Draw(t, "value")],
			})
		}
		data, err := bson.Marshal(doc)
		require.NoError(t, err)
		var got, want target
		gotErr, wantErr := codec.Unmarshal(data, &got), driverUnmarshal(data, &want)
		if wantErr != nil {
			require.EqualError(t, gotErr, wantErr.Error())
			return
		}
		require.NoError(t, gotErr)
		require.Empty(t, cmp.Diff(want, got, cmp.Comparer(func(a, b float32) bool {
			return math.Float32bits(a) == math.Float32bits(b) || a == b
		})))
	})
}

type (
	withInterface struct{ V any }
	withInline    struct {
		nestedInline `bson:",inline"`
		X            int
	}
	nestedInline struct{ Y int }
	WithExported struct{ Z int }
	withEmbedded struct {
		WithExported
		X int
	}
	withMinSize struct {
		N int64 `bson:",minsize"`
	}
	withNumber   struct{ N json.Number }
	withURL      struct{ U url.URL }
	withObjectID struct{ ID bson.ObjectID }
	withRaw      struct{ R bson.Raw }
	withArray    struct{ A [2]int }
	withIntKeys  struct{ M map[int]string }
	withZeroer   struct {
		Z zeroer `json:",omitempty"`
	}
	withPointer struct {
		Z *zeroer `json:",omitempty"`
	}
	withMarshaler struct{ M custom }
	withTwice     struct {
		A int `bson:"x"`
		B int `bson:"x"`
	}
	withChan  struct{ C chan int }
	withKeys  struct{ M map[uuidKey]int }
	uuidKey   string
	zeroer    struct{ N int }
	custom    struct{ n int }
	recursive map[string]recursive
)

func (z zeroer) IsZero() bool { return z.N == 42 }

func (k *uuidKey) UnmarshalText(b []byte) error { *k = uuidKey("<" + string(b) + ">"); return nil }

func (c custom) MarshalBSONValue() (byte, []byte, error) {
	t, b, err := bson.MarshalValue("custom")
	return byte(t), b, err
}

func (c *custom) UnmarshalBSONValue(byte, []byte) error { c.n = 1; return nil }

func TestBSONCodecLeavesTheUnusualToTheDriver(t *testing.T) {
	t.Parallel()
	name := "a name that ends nowhere\x00"
	for _, v := range []any{
		withInterface{V: map[string]any{"a": []any{1, "x", nil}}},
		withInline{nestedInline{1}, 2},
		withMinSize{5},
		withNumber{"12"},
		withURL{url.URL{Host: "example.org"}},
		withObjectID{bson.NewObjectID()},
		withRaw{bson.Raw{5, 0, 0, 0, 0}},
		withArray{[2]int{1, 2}},
		withIntKeys{map[int]string{3: "x"}},
		withZeroer{zeroer{42}},
		withZeroer{zeroer{1}},
		withPointer{&zeroer{42}},
		withPointer{},
		withMarshaler{},
		withTwice{1, 2},
		withChan{},
		withKeys{map[uuidKey]int{"a": 1}},
		map[string]any{"a": 1},
		map[string]string{name: "x"},
		struct{ U uint64 }{math.MaxUint64},
		bson.D{{Key: "a", Value: 1}},
		bson.M{"x": 1},
		struct{ M map[string]int }{map[string]int{name: 1}},
		// And some that are not unusual, by themselves.
		withEmbedded{WithExported{1}, 2},
		map[string]string{"a": "b"},
		map[string]string(nil),
		map[namedString]nested{"x": {A: "y"}},
		recursive{"a": {"b": nil}},
		struct{}{},
		nested{C: make([]nested, 300)},
		// Or no documents at all.
		42, "text",
		[]int{1},
		time.Now(), (*nested)(nil), nil, make(chan int),
	} {
		codec := NewBSONCodec()
		data, err := codec.Marshal(v)
		expected, expectedErr := driverMarshal(v)
		if expectedErr != nil {
			require.EqualError(t, err, expectedErr.Error(), "%T", v)
			continue
		}
		require.NoError(t, err, "%T", v)
		require.Equal(t, bson.Raw(expected).String(), bson.Raw(data).String(), "%T", v)
		if reflect.TypeOf(v).Kind() == reflect.Pointer {
			continue
		}
		got, want := reflect.New(reflect.TypeOf(v)), reflect.New(reflect.TypeOf(v))
		gotErr, wantErr := codec.Unmarshal(data, got.Interface()), driverUnmarshal(data, want.Interface())
		if wantErr != nil {
			require.EqualError(t, gotErr, wantErr.Error(), "%T", v)
			continue
		}
		require.NoError(t, gotErr, "%T", v)
		require.Equal(t, want.Interface(), got.Interface(), "%T", v)
	}
}

func TestBSONCodecMergesIntoValuesAsTheDriverDoes(t *testing.T) {
	t.Parallel()
	data, err := bson.Marshal(bson.D{{Key: "a", Value: "new"}, {Key: "d", Value: bson.D{{Key: "x", Value: bson.D{}}}}})
	require.NoError(t, err)
	before := func() nested {
		return nested{A: "old", B: &nested{A: "kept"}, D: map[string]nested{"kept": {A: "kept"}}}
	}
	got, want := before(), before()
	require.NoError(t, NewBSONCodec().Unmarshal(data, &got))
	require.NoError(t, driverUnmarshal(data, &want))
	assert.Equal(t, want, got)
	assert.Len(t, got.D, 2)
}

// The driver's default registry keeps the first names that it sees of a type. A
// codec that used it would write other names depending on what ran before.
func TestBSONCodecIsNotSwayedByOtherUsersOfTheDriver(t *testing.T) {
	t.Parallel()
	type order struct {
		CustomerID any `json:"customer"`
	}
	_, err := bson.Marshal(order{CustomerID: "c"})
	require.NoError(t, err)
	data, err := NewBSONCodec().Marshal(order{CustomerID: "c"})
	require.NoError(t, err)
	assert.JSONEq(t, `{"customer":"c"}`, bson.Raw(data).String())
}

func TestBSONCodecKeepsNothingOfItsInput(t *testing.T) {
	t.Parallel()
	codec := NewBSONCodec()
	for _, size := range []int{10, 2 * maxShared, 2 * maxPooled} {
		in := everything{String: strings.Repeat("s", size), Bytes: bytes.Repeat([]byte{1}, size), Map: map[string]string{"key": "value"}}
		data, err := codec.Marshal(&in)
		require.NoError(t, err)
		second, err := codec.Marshal(&everything{String: strings.Repeat("t", size)})
		require.NoError(t, err)
		var out everything
		require.NoError(t, codec.Unmarshal(data, &out))
		clear(data)
		clear(second)
		clear(in.Bytes)
		assert.Equal(t, strings.Repeat("s", size), out.String)
		assert.Equal(t, bytes.Repeat([]byte{1}, size), out.Bytes)
		assert.Equal(t, map[string]string{"key": "value"}, out.Map)
	}
}

func nestedDocument(depth int) []byte {
	doc := []byte{5, 0, 0, 0, 0}
	for range depth - 1 {
		doc, _ = bson.Marshal(bson.D{{Key: "a", Value: bson.Raw(doc)}})
	}
	return doc
}

func TestValidateData(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		format Format
		data   []byte
		reason string
	}{
		"empty":           {BSON, nil, "fewer than the five bytes"},
		"short":           {BSON, []byte{5, 0, 0, 0}, "fewer than the five bytes"},
		"too long":        {BSON, []byte{6, 0, 0, 0, 0}, "length 6"},
		"negative":        {BSON, []byte{0xff, 0xff, 0xff, 0xff, 0}, "length -1"},
		"followed":        {BSON, []byte{5, 0, 0, 0, 0, 0}, "followed by 1 other"},
		"no NUL":          {BSON, []byte{5, 0, 0, 0, 1}, "no NUL"},
		"name":            {BSON, []byte{7, 0, 0, 0, 0x0a, 'a', 0}, "a name without an end"},
		"unknown type":    {BSON, []byte{8, 0, 0, 0, 0x20, 'a', 0, 0}, "unknown type 0x20"},
		"int32":           {BSON, []byte{10, 0, 0, 0, 0x10, 'a', 0, 1, 1, 0}, "does not fit"},
		"boolean":         {BSON, []byte{9, 0, 0, 0, 0x08, 'a', 0, 2, 0}, "neither 0 nor 1"},
		"string length":   {BSON, []byte{13, 0, 0, 0, 0x02, 'a', 0, 3, 0, 0, 0, 0, 0}, "string that does not fit"},
		"string zero":     {BSON, []byte{13, 0, 0, 0, 0x02, 'a', 0, 0, 0, 0, 0, 0, 0}, "string that does not fit"},
		"string NUL":      {BSON, []byte{13, 0, 0, 0, 0x02, 'a', 0, 1, 0, 0, 0, 'x', 0}, "string without NUL"},
		"inner document":  {BSON, []byte{13, 0, 0, 0, 0x03, 'a', 0, 6, 0, 0, 0, 0, 0}, "length 6"},
		"binary":          {BSON, []byte{13, 0, 0, 0, 0x05, 'a', 0, 1, 0, 0, 0, 0, 0}, "binary data that does not fit"},
		"old binary":      {BSON, []byte{17, 0, 0, 0, 0x05, 'a', 0, 4, 0, 0, 0, 2, 9, 0, 0, 0, 0}, "subtype 2"},
		"regex":           {BSON, []byte{11, 0, 0, 0, 0x0b, 'a', 0, 'x', 0, 'y', 0}, "regular expression"},
		"db pointer":      {BSON, []byte{13, 0, 0, 0, 0x0c, 'a', 0, 1, 0, 0, 0, 0, 0}, "does not fit"},
		"code with scope": {BSON, []byte{12, 0, 0, 0, 0x0f, 'a', 0, 4, 0, 0, 0, 0}, "code with scope"},
		"deep":            {BSON, nestedDocument(MaxDataDepth + 1), "levels of nesting"},
		"JSON empty":      {JSON, nil, "not a JSON object"},
		"JSON array":      {JSON, []byte("[1]"), "not a JSON object"},
		"JSON broken":     {JSON, []byte(`{"a":}`), "not a JSON object"},
		"JSON twice":      {JSON, []byte(`{}{}`), "not a JSON object"},
		"format":          {Format(9), []byte("{}"), "neither BSON nor JSON"},
	} {
		err := validateData(c.format, c.data)
		require.ErrorIs(t, err, ErrInvalid, name)
		require.ErrorIs(t, err, ErrNotWritten, name)
		require.ErrorContains(t, err, c.reason, name)
	}
	assert.NoError(t, validateData(BSON, nestedDocument(MaxDataDepth)))
	assert.NoError(t, validateData(BSON, []byte{5, 0, 0, 0, 0}))
	assert.NoError(t, validateData(JSON, []byte(" \n{\"a\": [1]} ")))
}

func FuzzValidateBSON(f *testing.F) {
	data, err := driverMarshal(everything{String: "x", Structs: []nested{{A: "y"}}})
	require.NoError(f, err)
	f.Add(data)
	all, err := bson.Marshal(bson.D{
		{Key: "re", Value: bson.Regex{Pattern: "a", Options: "i"}},
		{Key: "code", Value: bson.CodeWithScope{Code: "x", Scope: bson.D{}}},
		{Key: "dbp", Value: bson.DBPointer{DB: "x"}},
		{Key: "dec", Value: bson.NewDecimal128(1, 2)},
		{Key: "bin", Value: bson.Binary{Subtype: 2, Data: []byte{1}}},
		{Key: "sym", Value: bson.Symbol("s")},
		{Key: "min", Value: bson.MinKey{}},
		{Key: "ts", Value: bson.Timestamp{T: 1}},
	})
	require.NoError(f, err)
	f.Add(all)
	codec := NewBSONCodec()
	f.Fuzz(func(t *testing.T, data []byte) {
		if validateBSON(data) != nil {
			return
		}
		if err := bson.Raw(data).Validate(); err != nil {
			t.Fatalf("the driver refuses %x: %v", data, err)
		}
		var d bson.D
		if err := bson.Unmarshal(data, &d); err != nil {
			t.Fatalf("the driver cannot decode %x: %v", data, err)
		}
		var got, want everything
		gotErr, wantErr := codec.Unmarshal(data, &got), driverUnmarshal(data, &want)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("decode %x: %v; the driver says %v", data, gotErr, wantErr)
		}
		if a, b := mustMarshal(t, got), mustMarshal(t, want); gotErr == nil && !bytes.Equal(a, b) && len(got.Map) < 2 && len(got.Nested) < 2 {
			t.Fatalf("decode %x: %x; the driver says %x", data, a, b)
		}
	})
}

func mustMarshal(t *testing.T, v everything) []byte {
	t.Helper()
	v.Named = nil // any order
	data, err := driverMarshal(v)
	if err != nil {
		return nil // a float32 NaN and such
	}
	return data
}

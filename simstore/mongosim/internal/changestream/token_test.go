package changestream

import (
	"bytes"
	"cmp"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

func uuidOf(t testing.TB, base64 string) *storage.UUID {
	var doc bson.Raw
	require.NoError(t, bson.UnmarshalExtJSON([]byte(`{"u":{"$binary":{"base64":"`+base64+`","subType":"04"}}}`), false, &doc))
	_, b := value.AsBinary(value.Field(doc, "u"))
	id := storage.UUID(b)
	return &id
}

func key(t testing.TB, json string) bson.Raw {
	var doc bson.Raw
	require.NoError(t, bson.UnmarshalExtJSON([]byte(json), true, &doc))
	return doc
}

// Tokens that a real server has made.
func TestTokensAreTheServers(t *testing.T) {
	t.Parallel()
	ev := uuidOf(t, "4JVzAJ4IT8icdn9LsM7sEA==")
	other := uuidOf(t, "6+ez8XvNREqIEAmZV6Sl0Q==")
	for want, p := range map[string]position{
		"826B03B46E0000003C2B0229296E04": {time: storage.MakeTimestamp(1795404910, 60), kind: tokenHighWater},
		"826B03B46E0000003C2B022C0100296E5A1004E09573009E084FC89C767F4BB0CEEC10461E5F6964002B020004":   {time: storage.MakeTimestamp(1795404910, 60), kind: tokenEvent, uuid: ev, key: key(t, `{"_id":{"$numberInt":"1"}}`)},
		"826B03B46F000000052B022C01002B026E5A1004E09573009E084FC89C767F4BB0CEEC10461E5F6964002B160004": {time: storage.MakeTimestamp(1795404911, 5), kind: tokenEvent, txnIndex: 1, uuid: ev, key: key(t, `{"_id":{"$numberInt":"11"}}`)},
		"826B03B470000000032B022C0100296E5A1004EBE7B3F17BCD444A8810099957A4A5D1461E5F6964002B040004":   {time: storage.MakeTimestamp(1795404912, 3), kind: tokenEvent, uuid: other, key: key(t, `{"_id":{"$numberInt":"2"}}`)},
		"826B03B471000000022B022C0100296E5A1004E09573009E084FC89C767F4BB0CEEC1004":                     {time: storage.MakeTimestamp(1795404913, 2), kind: tokenEvent, uuid: ev},
		"826B03B471000000022B022C0100296F5A1004E09573009E084FC89C767F4BB0CEEC1004":                     {time: storage.MakeTimestamp(1795404913, 2), kind: tokenEvent, invalidate: true, uuid: ev},
	} {
		p.version = tokenVersion
		p.encode()
		doc := p.token()
		require.Equal(t, want, value.AsString(value.Field(doc, "_data")))
		require.True(t, value.IsMissing(value.Field(doc, "_typeBits")))
		back, err := parseToken(doc)
		require.NoError(t, err)
		require.True(t, back.equal(&p))
		require.Equal(t, p.time, back.time)
		require.Equal(t, p.kind, back.kind)
		require.Equal(t, p.txnIndex, back.txnIndex)
		require.Equal(t, p.invalidate, back.invalidate)
		require.Equal(t, p.uuid, back.uuid)
		require.Equal(t, p.kind == tokenHighWater, back.isHighWater())
	}
}

func TestTypeBitsTellNumbersApart(t *testing.T) {
	t.Parallel()
	for json, bits := range map[string][]byte{
		`{"_id":{"$numberInt":"1"}}`:                       nil,
		`{"_id":"a"}`:                                      nil,
		`{"_id":{"$numberLong":"1"}}`:                      {0x81, 0b10_000000},
		`{"_id":{"$numberDouble":"1.0"}}`:                  {0b01_000000},
		`{"_id":[{"$numberInt":"1"},{"$numberLong":"1"}]}`: {0x82, 0, 0b10},
		`{"_id":{"a":{"$numberDouble":"0.5"},"b":"x"}}`:    {0x82, 0b01_000000, 0},
	} {
		p := position{version: 1, kind: tokenEvent, uuid: &storage.UUID{}, key: key(t, json)}
		p.encode()
		types := value.Field(p.token(), "_typeBits")
		if bits == nil {
			require.True(t, value.IsMissing(types), json)
			continue
		}
		_, got := value.AsBinary(types)
		// Version, kind and index come first, with two bits each.
		require.Equal(t, bits, got, json)
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	t.Parallel()
	for json, code := range map[string]mongoerr.Code{
		`{}`:                                           40647,
		`{"_data":1}`:                                  40647,
		`{"_data":"zz"}`:                               mongoerr.FailedToParse,
		`{"_data":"826"}`:                              mongoerr.FailedToParse,
		`{"_data":""}`:                                 40649,
		`{"_data":"04"}`:                               40649,
		`{"_data":"826B03"}`:                           50804,
		`{"_data":"826B03B46E0000003C04"}`:             50796,
		`{"_data":"826B03B46E0000003C2B0404"}`:         50795,
		`{"_data":"826B03B46E0000003C2B0204"}`:         51055,
		`{"_data":"826B03B46E0000003C2B022B0204"}`:     51057,
		`{"_data":"826B03B46E0000003C2B022904"}`:       50793,
		`{"_data":"826B03B46E0000003C2B02292904"}`:     50872,
		`{"_data":"826B03B46E0000003C2B0229292904"}`:   50870,
		`{"_data":"826B03B46E0000003C2B0229296E5A10"}`: mongoerr.InvalidUUID,
		`{"_data":"826B03B46E0000003C2B0229296E04","_typeBits":"abc"}`: 40648,
	} {
		_, err := parseToken(key(t, json))
		require.Equal(t, code, mongoerr.CodeOf(err), "%s: %v", json, err)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("826B03B46E0000003C2B022C0100296E5A1004E09573009E084FC89C767F4BB0CEEC10461E5F6964002B020004")
	f.Add("826B03B46E0000003C2B0229296E04")
	f.Fuzz(func(t *testing.T, data string) {
		o := value.NewObject(16)
		o.Add("_data", value.String(data))
		_, _ = parseToken(o.Doc())
	})
}

// Tokens of one time order as the document keys do.
func TestKeyStringsOrderAsValues(t *testing.T) {
	t.Parallel()
	numbers := rapid.Custom(func(t *rapid.T) bson.RawValue {
		switch rapid.IntRange(0, 3).Draw(t, "type") {
		case 0:
			return value.Int32(rapid.Int32().Draw(t, "int"))
		case 1:
			return value.Int64(rapid.Int64().Draw(t, "long"))
		case 2:
			return value.Double(rapid.Float64().Draw(t, "double"))
		default:
			return value.Double(rapid.SampledFrom([]float64{0.1, -0.1, 1.5, -2.25, 1e300, -1e300, 0x1p-300, 9.5e18, 1e18 + 0.5, 255.5, 256}).Draw(t, "chosen"))
		}
	})
	values := rapid.OneOf(numbers, rapid.Custom(func(t *rapid.T) bson.RawValue {
		return rapid.OneOf(
			rapid.Map(rapid.String(), value.String),
			rapid.Map(rapid.Bool(), value.Bool),
			rapid.Map(rapid.Int64(), value.Date),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 12, 12), func(b []byte) bson.RawValue { return value.ObjectID(bson.ObjectID(b)) }),
		).Draw(t, "value")
	}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := values.Draw(t, "a"), values.Draw(t, "b")
		var x, y keyString
		x.value(a)
		y.value(b)
		x.end()
		y.end()
		if got, want := bytes.Compare(x.buf, y.buf), cmp.Compare(value.Compare(a, b), 0); got != want {
			t.Fatalf("%v and %v: %x and %x compare as %d, want %d", a, b, x.buf, y.buf, got, want)
		}
	})
}

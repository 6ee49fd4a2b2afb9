package changestream

import (
	"encoding/binary"
	"math"
	"math/bits"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// The first byte of a value in a key string tells its type and, for numbers,
// their magnitude. Byte strings made so order as the values do.
const (
	ksEnd        = 4
	ksMinKey     = 10
	ksUndefined  = 15
	ksNull       = 20
	ksNumeric    = 30
	ksString     = 60
	ksObject     = 70
	ksArray      = 80
	ksBinary     = 90
	ksObjectID   = 100
	ksFalse      = 110
	ksTrue       = 111
	ksDate       = 120
	ksTimestamp  = 130
	ksRegex      = 140
	ksDBPointer  = 150
	ksCode       = 160
	ksCodeScope  = 170
	ksMaxKey     = 240
	ksNaN        = ksNumeric + 0
	ksNegLarge   = ksNumeric + 1
	ksNeg1Byte   = ksNumeric + 9
	ksNegSmall   = ksNumeric + 10
	ksZero       = ksNumeric + 11
	ksPosSmall   = ksNumeric + 12
	ksPos1Byte   = ksNumeric + 13
	ksPos8Byte   = ksNumeric + 20
	ksPosLarge   = ksNumeric + 21
	ksLargeFloat = 1 << 63 // doubles from here on are stored as they are
)

// A keyString builds the server's order-preserving encoding, version 1, and
// beside it the bits that tell equal numbers of different types apart.
type keyString struct {
	buf   []byte
	types typeBits
}

// typeBits are packed from low to high; all zero is stored as nothing.
type typeBits struct {
	data []byte
	n    int
	any  bool
}

func (t *typeBits) add(bit byte) {
	if t.n%8 == 0 {
		t.data = append(t.data, 0)
	}
	t.data[t.n/8] |= bit << (t.n % 8)
	t.any = t.any || bit != 0
	t.n++
}

// bits adds the lowest n bits of v, the highest of them first.
func (t *typeBits) bits(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		t.add(byte(v>>i) & 1)
	}
}

// bytes is how the bits are stored; nil if all are zero.
func (t *typeBits) bytes() []byte {
	switch n := len(t.data); {
	case !t.any:
		return nil
	case n == 1 && t.data[0]&0x80 == 0:
		return t.data
	case n <= 127:
		return append([]byte{0x80 | byte(n)}, t.data...)
	default:
		return append(binary.LittleEndian.AppendUint32([]byte{0x80}, uint32(n)), t.data...)
	}
}

func (k *keyString) byte(b byte) { k.buf = append(k.buf, b) }

func (k *keyString) end() { k.byte(ksEnd) }

func (k *keyString) timestamp(t uint64) {
	k.byte(ksTimestamp)
	k.buf = binary.BigEndian.AppendUint64(k.buf, t)
}

func (k *keyString) bool(b bool) {
	if b {
		k.byte(ksTrue)
	} else {
		k.byte(ksFalse)
	}
}

// int appends an int32's value.
func (k *keyString) int(n int64) {
	k.types.bits(0, 2)
	k.integer(n)
}

func (k *keyString) integer(n int64) {
	switch {
	case n == math.MinInt64:
		k.largeFloat(float64(n))
	case n == 0:
		k.byte(ksZero)
	case n < 0:
		k.whole(uint64(-n)<<1, true)
	default:
		k.whole(uint64(n)<<1, false)
	}
}

// whole appends an integer's magnitude, shifted left by one: the lowest bit
// says that a fraction follows. Negative numbers are inverted.
func (k *keyString) whole(v uint64, negative bool) {
	n := (bits.Len64(v) + 7) / 8
	first := byte(ksPos1Byte + n - 1)
	if negative {
		first = byte(ksNeg1Byte - (n - 1))
		v = ^v
	}
	k.byte(first)
	var be [8]byte
	binary.BigEndian.PutUint64(be[:], v)
	k.buf = append(k.buf, be[8-n:]...)
}

// fixed appends eight bytes, inverted for negative numbers.
func (k *keyString) fixed(v uint64, negative bool) {
	if negative {
		v = ^v
	}
	k.buf = binary.BigEndian.AppendUint64(k.buf, v)
}

func (k *keyString) largeFloat(f float64) {
	first := byte(ksPosLarge)
	if f < 0 {
		first = ksNegLarge
	}
	k.byte(first)
	v := math.Float64bits(math.Abs(f)) << 1 &^ (1 << 63)
	if math.IsInf(f, 0) {
		v = math.MaxUint64
	}
	k.fixed(v, f < 0)
}

func (k *keyString) float(f float64) {
	if f == 0 && math.Signbit(f) {
		k.types.bits(0x18, 5)
	} else {
		k.types.bits(2, 2)
	}
	k.double(f)
}

// double appends a double without its type.
func (k *keyString) double(f float64) {
	negative, m := f < 0, math.Abs(f)
	switch {
	case math.IsNaN(f):
		k.byte(ksNaN)
	case m == 0:
		k.byte(ksZero)
	case m < 1:
		k.smallFloat(f)
	case m >= ksLargeFloat:
		k.largeFloat(f)
	case m == math.Trunc(m):
		k.whole(uint64(m)<<1, negative)
	default:
		// The integer part as whole writes it, then as many bytes of the fraction
		// as make eight, the lowest two bits of which are left for decimals.
		part := uint64(m)
		free := bits.LeadingZeros64(part<<1) / 8
		first := byte(ksPos8Byte - free)
		if negative {
			first = byte(ksNumeric + 2 + free)
		}
		k.byte(first)
		v := uint64(math.Ldexp(m, 8*free)) + (part+1)<<(8*free)
		k.fixed(v, negative)
	}
}

// smallFloat appends a number between -1 and 1. The two highest bits tell
// those below 2^-255, which are scaled up, from the rest.
func (k *keyString) smallFloat(f float64) {
	first := byte(ksPosSmall)
	if f < 0 {
		first = ksNegSmall
	}
	k.byte(first)
	var v uint64
	if m := math.Abs(f); m >= 0x1p-255 {
		v = math.Float64bits(m) << 2
	} else {
		v = math.Float64bits(m*0x1p256)<<1 + 1<<62
	}
	k.fixed(v, f < 0)
}

// decimal appends a decimal128. One that is no double is told apart from its
// neighbours by bytes of our own making, where the server has its own: nobody
// but the maker of a token reads them.
func (k *keyString) decimal(v bson.RawValue) {
	d := v.Decimal128()
	high, _ := d.GetBytes()
	f := value.ToDouble(v)
	switch {
	case f == 0:
		exponent := uint32(high>>49) & 0x3fff
		if high>>63 != 0 {
			exponent += 0x3000
		}
		k.types.bits(0x1a+exponent>>12, 5)
		k.types.bits(exponent&0xfff, 12)
	case d.IsNaN() || d.IsInf() != 0:
		k.types.bits(3, 2)
	default:
		k.types.bits(3, 2)
		k.types.bits(uint32(high>>49)&0x3f, 6)
	}
	k.double(f)
	if !d.IsNaN() && !value.Equal(v, value.Double(f)) {
		k.buf = value.AppendKey(k.buf, v, false)
	}
}

func (k *keyString) text(s string) {
	for i := range len(s) {
		k.byte(s[i])
		if s[i] == 0 {
			k.byte(0xff)
		}
	}
	k.byte(0)
}

func (k *keyString) binary(subtype byte, data []byte) {
	k.byte(ksBinary)
	if len(data) < 0xff {
		k.byte(byte(len(data)))
	} else {
		k.byte(0xff)
		k.buf = binary.BigEndian.AppendUint32(k.buf, uint32(len(data)))
	}
	k.byte(subtype)
	k.buf = append(k.buf, data...)
}

// document appends each field's kind, name and value.
func (k *keyString) document(doc bson.Raw) {
	for name, v := range value.Fields(doc) {
		k.byte(kindByte(v.Type))
		k.buf = append(append(k.buf, name...), 0)
		k.value(v)
	}
	k.byte(0)
}

// kindByte is the first byte that all values of a type have in common.
func kindByte(t bson.Type) byte {
	switch t {
	case bson.TypeMinKey:
		return ksMinKey
	case bson.TypeMaxKey:
		return ksMaxKey
	case bson.TypeUndefined:
		return ksUndefined
	case bson.TypeDouble, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128:
		return ksNumeric
	case bson.TypeString, bson.TypeSymbol:
		return ksString
	case bson.TypeEmbeddedDocument:
		return ksObject
	case bson.TypeArray:
		return ksArray
	case bson.TypeBinary:
		return ksBinary
	case bson.TypeObjectID:
		return ksObjectID
	case bson.TypeBoolean:
		return ksFalse
	case bson.TypeDateTime:
		return ksDate
	case bson.TypeTimestamp:
		return ksTimestamp
	case bson.TypeRegex:
		return ksRegex
	case bson.TypeDBPointer:
		return ksDBPointer
	case bson.TypeJavaScript:
		return ksCode
	case bson.TypeCodeWithScope:
		return ksCodeScope
	default:
		return ksNull
	}
}

// value appends any value.
func (k *keyString) value(v bson.RawValue) {
	switch v.Type {
	case bson.TypeInt32:
		k.int(int64(value.AsInt32(v)))
	case bson.TypeInt64:
		k.types.bits(1, 2)
		k.integer(value.AsInt64(v))
	case bson.TypeDouble:
		k.float(value.AsDouble(v))
	case bson.TypeDecimal128:
		k.decimal(v)
	case bson.TypeBoolean:
		k.bool(value.AsBool(v))
	case bson.TypeString, bson.TypeSymbol:
		symbol := byte(0)
		if v.Type == bson.TypeSymbol {
			symbol = 1
		}
		k.types.add(symbol)
		k.byte(ksString)
		k.text(value.AsString(v))
	case bson.TypeEmbeddedDocument:
		k.byte(ksObject)
		k.document(bson.Raw(v.Value))
	case bson.TypeArray:
		k.byte(ksArray)
		for _, e := range value.Elements(v) {
			k.value(e)
		}
		k.byte(0)
	case bson.TypeBinary:
		k.binary(value.AsBinary(v))
	case bson.TypeDateTime:
		k.byte(ksDate)
		k.buf = binary.BigEndian.AppendUint64(k.buf, uint64(value.AsDate(v))^1<<63)
	case bson.TypeTimestamp:
		t, i := value.AsTimestamp(v)
		k.timestamp(uint64(t)<<32 | uint64(i))
	case bson.TypeRegex:
		pattern, options := value.AsRegex(v)
		k.byte(ksRegex)
		k.buf = append(append(append(append(k.buf, pattern...), 0), options...), 0)
	case bson.TypeJavaScript:
		k.byte(ksCode)
		k.text(value.AsString(v))
	case bson.TypeObjectID:
		k.byte(ksObjectID)
		k.buf = append(k.buf, v.Value...)
	case bson.TypeDBPointer, bson.TypeCodeWithScope:
		k.byte(kindByte(v.Type))
		k.buf = value.AppendKey(k.buf, v, false)
	default:
		k.byte(kindByte(v.Type))
	}
}

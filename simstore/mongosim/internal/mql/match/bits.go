package match

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A bitTest is one of $bitsAllSet, $bitsAllClear, $bitsAnySet, $bitsAnyClear.
type bitTest struct {
	k         kind
	mask      uint64   // of the first 64 bits, for numbers
	positions []uint32 // for binary data
}

// parseBits reads a bit mask: positions, a number or binary data.
func parseBits(k kind, op string, operand bson.RawValue) (*bitTest, error) {
	b := &bitTest{k: k}
	switch {
	case operand.Type == bson.TypeArray:
		for _, v := range value.Elements(operand) {
			at, err := bitPosition(v)
			if err != nil {
				return nil, err
			}
			// Numbers are sign-extended: beyond bit 63 there is only the sign.
			b.mask |= 1 << min(at, 63)
			b.positions = append(b.positions, at)
		}
	case value.IsNumber(operand):
		n, err := exactNonNegative(op, operand)
		if err != nil {
			return nil, err
		}
		b.mask = uint64(n)
		for at := range uint32(64) {
			if b.mask&(1<<at) != 0 {
				b.positions = append(b.positions, at)
			}
		}
	case operand.Type == bson.TypeBinary:
		_, data := value.AsBinary(operand)
		for i, octet := range data {
			switch {
			case octet == 0:
				continue
			case i < 8:
				// The server takes the byte as signed, so that its highest bit
				// stands for all the higher bits of a number as well.
				b.mask |= uint64(int64(int8(octet))) << (8 * i)
			default:
				b.mask |= 1 << 63
			}
			for bit := range uint32(8) {
				if octet&(1<<bit) != 0 {
					b.positions = append(b.positions, uint32(i)*8+bit)
				}
			}
		}
	default:
		return nil, mongoerr.New(mongoerr.BadValue,
			"%s takes an Array, a number, or a BinData but received: %s: %s", op, op, expr.Show(operand))
	}
	return b, nil
}

func bitPosition(v bson.RawValue) (uint32, error) {
	if !value.IsNumber(v) {
		return 0, mongoerr.New(mongoerr.BadValue, "bit positions must be an integer but got: %s", expr.Show(v))
	}
	if v.Type == bson.TypeDouble {
		f := value.AsDouble(v)
		switch {
		case math.IsNaN(f):
			return 0, mongoerr.New(mongoerr.BadValue, "bit positions cannot take a NaN: %s", expr.Show(v))
		case f > math.MaxInt32 || f < math.MinInt32:
			return 0, mongoerr.New(mongoerr.BadValue, "bit positions cannot be represented as a 32-bit signed integer: %s", expr.Show(v))
		case f != math.Trunc(f):
			return 0, mongoerr.New(mongoerr.BadValue, "bit positions must be an integer but got: %s", expr.Show(v))
		}
	}
	n := truncated(v)
	if v.Type == bson.TypeInt64 && (n > math.MaxInt32 || n < math.MinInt32) {
		return 0, mongoerr.New(mongoerr.BadValue, "bit positions cannot be represented as a 32-bit signed integer: %s", expr.Show(v))
	}
	n = max(math.MinInt32, min(math.MaxInt32, n))
	if n < 0 {
		return 0, mongoerr.New(mongoerr.BadValue, "bit positions must be >= 0 but got: %s", expr.Show(v))
	}
	return uint32(n), nil
}

func (b *bitTest) test(v bson.RawValue, _ *state) bool {
	switch v.Type {
	case bson.TypeBinary:
		_, data := value.AsBinary(v)
		return b.testBinary(data)
	case bson.TypeDouble:
		f := value.AsDouble(v)
		if math.IsNaN(f) || f >= 1<<63 || f < -1<<63 || f != math.Trunc(f) {
			return false
		}
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128:
	default:
		return false
	}
	n := uint64(truncated(v))
	switch b.k {
	case kindBitsAllSet:
		return n&b.mask == b.mask
	case kindBitsAllClear:
		return ^n&b.mask == b.mask
	case kindBitsAnySet:
		return n&b.mask != 0
	}
	return ^n&b.mask != 0
}

// testBinary looks at bytes as if zeros followed without end.
func (b *bitTest) testBinary(data []byte) bool {
	anyOf := b.k == kindBitsAnySet || b.k == kindBitsAnyClear
	wantSet := b.k == kindBitsAllSet || b.k == kindBitsAnySet
	for _, at := range b.positions {
		set := int(at/8) < len(data) && data[at/8]&(1<<(at%8)) != 0
		if anyOf == (set == wantSet) {
			return anyOf
		}
	}
	return !anyOf
}

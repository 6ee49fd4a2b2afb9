package value

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Limits of the format: 34 digits, exponents of the last digit.
const (
	decimalDigits = 34
	decimalMinExp = -6176
	decimalMaxExp = 6111
)

type form uint8

const (
	finite form = iota
	infinite
	nan
)

// A Decimal is an unpacked decimal128: sign, coefficient and the exponent of
// its last digit, so that 2.50 and 2.5 are told apart. It is immutable.
type Decimal struct {
	form form
	neg  bool
	coef *big.Int // never nil when finite
	exp  int
}

// A Rounding says which way digits that don't fit are dropped.
type Rounding uint8

// The roundings of IEEE 754-2008.
const (
	HalfEven Rounding = iota
	TowardNegative
	TowardPositive
	TowardZero
	HalfAway
)

// DecimalNaN is not a number.
func DecimalNaN() Decimal { return Decimal{form: nan, coef: new(big.Int)} }

// DecimalInf is positive or negative infinity.
func DecimalInf(neg bool) Decimal { return Decimal{form: infinite, neg: neg, coef: new(big.Int)} }

// DecimalFromInt is exact.
func DecimalFromInt(n int64) Decimal {
	c := big.NewInt(n)
	return Decimal{neg: n < 0, coef: c.Abs(c)}
}

// NewDecimal makes coef × 10^exp, rounded half to even to 34 digits.
func NewDecimal(neg bool, coef *big.Int, exp int) Decimal {
	return fit(neg, new(big.Int).Abs(coef), exp, HalfEven)
}

// AsDecimal unpacks a decimal128; a coefficient beyond 34 digits counts as zero.
func AsDecimal(v bson.RawValue) Decimal {
	if v.Type != bson.TypeDecimal128 || len(v.Value) < 16 {
		return DecimalNaN()
	}
	lo, hi := binary.LittleEndian.Uint64(v.Value), binary.LittleEndian.Uint64(v.Value[8:])
	return decimalFromBits(hi, lo)
}

func decimalFromBits(hi, lo uint64) Decimal {
	neg := hi>>63 == 1
	switch hi >> 58 & 0x1f {
	case 0x1f:
		return Decimal{form: nan, coef: new(big.Int)}
	case 0x1e:
		return DecimalInf(neg)
	}
	if hi>>61&3 == 3 { // the long form: its coefficient is out of range, hence zero
		return Decimal{neg: neg, coef: new(big.Int), exp: int(hi>>47&0x3fff) + decimalMinExp}
	}
	exp := int(hi>>49&0x3fff) + decimalMinExp
	c := new(big.Int).SetUint64(hi & (1<<49 - 1))
	c.Lsh(c, 64).Or(c, new(big.Int).SetUint64(lo))
	if digits(c) > decimalDigits {
		c = new(big.Int)
	}
	return Decimal{neg: neg, coef: c, exp: exp}
}

// Value packs the decimal.
func (d Decimal) Value() bson.RawValue {
	hi, lo := d.bits()
	b := make([]byte, 16)
	binary.LittleEndian.PutUint64(b, lo)
	binary.LittleEndian.PutUint64(b[8:], hi)
	return bson.RawValue{Type: bson.TypeDecimal128, Value: b}
}

func (d Decimal) bits() (hi, lo uint64) {
	if d.neg {
		hi = 1 << 63
	}
	switch d.form {
	case nan:
		return 0x1f << 58, 0
	case infinite:
		return hi | 0x1e<<58, 0
	}
	var words big.Int
	lo = words.And(d.coef, maxUint64).Uint64()
	hi |= words.Rsh(d.coef, 64).Uint64()
	return hi | uint64(d.exp-decimalMinExp)<<49, lo
}

var maxUint64 = new(big.Int).SetUint64(math.MaxUint64)

var powersOfTen = func() (p [80]*big.Int) {
	p[0] = big.NewInt(1)
	for i := 1; i < len(p); i++ {
		p[i] = new(big.Int).Mul(p[i-1], big.NewInt(10))
	}
	return p
}()

// pow10 must not be written to.
func pow10(n int) *big.Int {
	if n < len(powersOfTen) {
		return powersOfTen[n]
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// digits counts the decimal digits of c, 1 for zero.
func digits(c *big.Int) int {
	if c.Sign() == 0 {
		return 1
	}
	n := int(float64(c.BitLen()-1)*0.30102999566398120) + 1
	for c.CmpAbs(pow10(n)) >= 0 {
		n++
	}
	for n > 1 && c.CmpAbs(pow10(n-1)) < 0 {
		n--
	}
	return n
}

// drop removes the last n digits of c.
func drop(c *big.Int, n int, neg bool, mode Rounding) *big.Int {
	if n <= 0 {
		return c
	}
	p := pow10(n)
	q, r := new(big.Int).QuoRem(c, p, new(big.Int))
	if r.Sign() == 0 {
		return q
	}
	up := false
	switch mode {
	case HalfEven, HalfAway:
		half := r.Lsh(r, 1).Cmp(p)
		up = half > 0 || half == 0 && (mode == HalfAway || q.Bit(0) == 1)
	case TowardNegative:
		up = neg
	case TowardPositive:
		up = !neg
	}
	if up {
		q.Add(q, powersOfTen[0])
	}
	return q
}

// fit rounds to what the format can hold.
func fit(neg bool, c *big.Int, exp int, mode Rounding) Decimal {
	n := max(digits(c)-decimalDigits, decimalMinExp-exp, 0)
	if n > 0 {
		if n > digits(c)+1 { // all of it goes; keep what rounding needs to see
			if c.Sign() != 0 {
				c, n, exp = big.NewInt(1), 2, exp+n-2
			} else {
				exp, n = exp+n, 0
			}
		}
		c, exp = drop(c, n, neg, mode), exp+n
		if digits(c) > decimalDigits {
			c, exp = drop(c, 1, neg, mode), exp+1
		}
	}
	if exp > decimalMaxExp {
		if c.Sign() == 0 {
			exp = decimalMaxExp
		} else {
			pad := exp - decimalMaxExp
			if digits(c)+pad > decimalDigits {
				return DecimalInf(neg)
			}
			c, exp = new(big.Int).Mul(c, pow10(pad)), decimalMaxExp
		}
	}
	return Decimal{neg: neg, coef: c, exp: exp}
}

// IsNaN tells whether d is not a number.
func (d Decimal) IsNaN() bool { return d.form == nan }

// IsInf tells whether d is an infinity.
func (d Decimal) IsInf() bool { return d.form == infinite }

// IsFinite tells whether d is neither.
func (d Decimal) IsFinite() bool { return d.form == finite }

// IsZero tells whether d is a zero of either sign.
func (d Decimal) IsZero() bool { return d.form == finite && d.coef.Sign() == 0 }

// Negative tells whether the sign is set.
func (d Decimal) Negative() bool { return d.neg && d.form != nan }

// Exponent is that of the last digit.
func (d Decimal) Exponent() int { return d.exp }

// sign is -1, 0 or 1; NaN has none.
func (d Decimal) sign() int {
	switch {
	case d.form == nan || d.IsZero():
		return 0
	case d.neg:
		return -1
	default:
		return 1
	}
}

// adjusted is the exponent of the first digit.
func (d Decimal) adjusted() int { return d.exp + digits(d.coef) - 1 }

// String formats as the server does: 2.50, 1E+30, NaN, -Infinity.
func (d Decimal) String() string {
	sign := ""
	if d.neg {
		sign = "-"
	}
	switch d.form {
	case nan:
		return "NaN"
	case infinite:
		return sign + "Infinity"
	}
	s := d.coef.String()
	adj := d.exp + len(s) - 1
	if d.exp > 0 || adj < -6 {
		m := s
		if len(s) > 1 {
			m = s[:1] + "." + s[1:]
		}
		e := strconv.Itoa(adj)
		if adj > 0 {
			e = "+" + e
		}
		return sign + m + "E" + e
	}
	if d.exp == 0 {
		return sign + s
	}
	point := len(s) + d.exp
	if point <= 0 {
		return sign + "0." + strings.Repeat("0", -point) + s
	}
	return sign + s[:point] + "." + s[point:]
}

// ParseDecimal reads digits with an optional sign, point and exponent, or
// inf, infinity, nan in any case. exact is false if digits were dropped.
func ParseDecimal(s string) (d Decimal, exact, ok bool) {
	body := s
	neg := false
	if body != "" && (body[0] == '-' || body[0] == '+') {
		neg, body = body[0] == '-', body[1:]
	}
	switch strings.ToLower(body) {
	case "inf", "infinity":
		return DecimalInf(neg), true, true
	case "nan":
		return DecimalNaN(), true, true
	}
	exp := 0
	if i := strings.IndexAny(body, "eE"); i >= 0 {
		e := body[i+1:]
		if !allDigits(strings.TrimLeft(e, "+-")) || len(e)-len(strings.TrimLeft(e, "+-")) > 1 {
			return Decimal{}, false, false
		}
		n, err := strconv.Atoi(e)
		if err != nil || n > 1<<20 || n < -1<<20 {
			n = 1 << 20
			if e[0] == '-' {
				n = -n
			}
		}
		exp, body = n, body[:i]
	}
	whole, frac, point := strings.Cut(body, ".")
	if whole+frac == "" || !allDigits(whole+frac) && whole+frac != "" || point && strings.Contains(frac, ".") {
		return Decimal{}, false, false
	}
	exp -= len(frac)
	text := strings.TrimLeft(whole+frac, "0")
	if text == "" {
		return fit(neg, new(big.Int), min(max(exp, decimalMinExp), decimalMaxExp), HalfEven), true, true
	}
	sticky := false
	if len(text) > 2000 { // digits that can't matter, but for being there
		sticky = strings.Trim(text[2000:], "0") != ""
		exp += len(text) - 2000
		text = text[:2000]
	}
	if sticky {
		text += "1"
		exp--
	}
	c, _ := new(big.Int).SetString(text, 10)
	d = fit(neg, c, exp, HalfEven)
	return d, d.IsFinite() && cmpScaled(c, exp, d.coef, d.exp) == 0, true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// DecimalFromDouble converts to 15 significant digits, as the server does
// wherever a double meets a decimal128 in arithmetic.
func DecimalFromDouble(f float64) Decimal { return decimalFromDouble(f, 15) }

// DecimalFromDoubleExact converts to 34 significant digits.
func DecimalFromDoubleExact(f float64) Decimal { return decimalFromDouble(f, decimalDigits) }

func decimalFromDouble(f float64, prec int) Decimal {
	switch {
	case math.IsNaN(f):
		return DecimalNaN()
	case math.IsInf(f, 0):
		return DecimalInf(f < 0)
	case f == 0:
		return Decimal{neg: math.Signbit(f), coef: new(big.Int)}
	}
	s := strconv.FormatFloat(math.Abs(f), 'e', prec-1, 64)
	m, e, _ := strings.Cut(s, "e")
	exp, _ := strconv.Atoi(e)
	c, _ := new(big.Int).SetString(strings.Replace(m, ".", "", 1), 10)
	d := Decimal{neg: f < 0, coef: c, exp: exp - prec + 1}
	if prec == decimalDigits { // the shortest form that is as exact
		d = d.trim(0)
	}
	return d
}

// trim removes trailing zeros as long as the exponent stays below limit.
func (d Decimal) trim(limit int) Decimal {
	if d.form != finite || d.coef.Sign() == 0 {
		return d
	}
	c, e := d.coef, d.exp
	for e < limit {
		q, r := new(big.Int).QuoRem(c, pow10(1), new(big.Int))
		if r.Sign() != 0 {
			break
		}
		c, e = q, e+1
	}
	return Decimal{neg: d.neg, coef: c, exp: e}
}

// Float64 rounds to the nearest double; too large becomes infinite.
func (d Decimal) Float64() float64 {
	switch d.form {
	case nan:
		return math.NaN()
	case infinite:
		if d.neg {
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	f, _ := strconv.ParseFloat(d.coef.String()+"e"+strconv.Itoa(d.exp), 64)
	if d.neg {
		f = -f
	}
	return f
}

// Int64 rounds to an integer. exact tells that nothing was rounded away, ok
// that the result fits.
func (d Decimal) Int64(mode Rounding) (n int64, exact, ok bool) {
	if d.form != finite {
		return 0, false, false
	}
	if d.coef.Sign() != 0 && d.adjusted() > 19 {
		return 0, false, false
	}
	c := d.coef
	switch {
	case d.exp > 0:
		if c.Sign() != 0 {
			c = new(big.Int).Mul(c, pow10(d.exp))
		}
		exact = true
	case d.exp < 0:
		k := -d.exp
		if k > digits(c)+1 && c.Sign() != 0 {
			c, k = big.NewInt(1), 2
		} else if c.Sign() == 0 {
			k = 0
		}
		r := drop(c, k, d.neg, mode)
		exact = new(big.Int).Mul(r, pow10(k)).Cmp(c) == 0
		c = r
	default:
		exact = true
	}
	c = new(big.Int).Set(c)
	if d.neg {
		c.Neg(c)
	}
	if !c.IsInt64() {
		return 0, false, false
	}
	return c.Int64(), exact, true
}

// cmpScaled compares a × 10^ea with b × 10^eb, both without sign.
func cmpScaled(a *big.Int, ea int, b *big.Int, eb int) int {
	if a.Sign() == 0 || b.Sign() == 0 {
		return a.Sign() - b.Sign()
	}
	if x, y := ea+digits(a), eb+digits(b); x != y {
		if x < y {
			return -1
		}
		return 1
	}
	switch {
	case ea > eb:
		a = new(big.Int).Mul(a, pow10(ea-eb))
	case eb > ea:
		b = new(big.Int).Mul(b, pow10(eb-ea))
	}
	return a.Cmp(b)
}

// Cmp orders decimals: NaN, -Infinity, numbers, Infinity. 2.5 equals 2.50 and
// the zeros are equal.
func (d Decimal) Cmp(e Decimal) int {
	if d.form == nan || e.form == nan {
		return b2i(e.form == nan) - b2i(d.form == nan)
	}
	if s, t := d.sign(), e.sign(); s != t {
		if s < t {
			return -1
		}
		return 1
	}
	c := 0
	switch {
	case d.form == infinite && e.form == infinite:
	case d.form == infinite:
		c = 1
	case e.form == infinite:
		c = -1
	default:
		c = cmpScaled(d.coef, d.exp, e.coef, e.exp)
	}
	if d.neg {
		return -c
	}
	return c
}

// cmpDouble compares exactly with a double.
func (d Decimal) cmpDouble(f float64) int {
	switch {
	case math.IsNaN(f):
		return b2i(d.form != nan)
	case d.form == nan:
		return -1
	case math.IsInf(f, 0) || d.form == infinite:
		return d.Cmp(DecimalFromDouble(f))
	}
	fs := 0
	if f > 0 {
		fs = 1
	} else if f < 0 {
		fs = -1
	}
	if s := d.sign(); s != fs {
		if s < fs {
			return -1
		}
		return 1
	} else if s == 0 {
		return 0
	}
	c := 0
	if adj, about := d.adjusted(), math.Log10(math.Abs(f)); float64(adj) > about+1 {
		c = 1
	} else if float64(adj) < about-2 {
		c = -1
	} else {
		c = cmpExact(d.coef, d.exp, math.Abs(f))
	}
	if d.neg {
		return -c
	}
	return c
}

// cmpExact compares c × 10^exp with a positive double, over integers.
func cmpExact(c *big.Int, exp int, f float64) int {
	m, e := math.Frexp(f)
	left, right := new(big.Int).Set(c), big.NewInt(int64(m*(1<<53)))
	e -= 53
	if exp >= 0 {
		left.Mul(left, pow10(exp))
	} else {
		right.Mul(right, pow10(-exp))
	}
	if e >= 0 {
		right.Lsh(right, uint(e))
	} else {
		left.Lsh(left, uint(-e))
	}
	return left.Cmp(right)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

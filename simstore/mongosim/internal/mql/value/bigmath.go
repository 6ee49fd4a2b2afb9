package value

import (
	"math"
	"math/big"
)

// The functions below calculate with so many bits that rounding their results
// to a double or to 34 digits gives the nearest one. That is what the server's
// libraries mean to give; the standard library's functions are faster and
// often off by one in the last bit.

const (
	bitsForDouble  = 160
	bitsForDecimal = 420
)

// A real calculates with a fixed precision.
type real struct{ prec uint }

func (r real) new() *big.Float                { return new(big.Float).SetPrec(r.prec) }
func (r real) int(n int64) *big.Float         { return r.new().SetInt64(n) }
func (r real) add(a, b *big.Float) *big.Float { return r.new().Add(a, b) }
func (r real) sub(a, b *big.Float) *big.Float { return r.new().Sub(a, b) }
func (r real) mul(a, b *big.Float) *big.Float { return r.new().Mul(a, b) }
func (r real) quo(a, b *big.Float) *big.Float { return r.new().Quo(a, b) }
func (r real) sqrt(a *big.Float) *big.Float   { return r.new().Sqrt(a) }
func (r real) half(a *big.Float) *big.Float   { return r.new().SetMantExp(a, -1) }

// negligible tells that term no longer changes sum.
func (r real) negligible(term, sum *big.Float) bool {
	return term.Sign() == 0 || sum.Sign() != 0 && term.MantExp(nil) < sum.MantExp(nil)-int(r.prec)-2
}

// oddSeries sums x + s·x³/3 + x⁵/5 + ..., s being -1 for the arc tangent and
// 1 for its hyperbolic sister.
func (r real) oddSeries(x *big.Float, alternate bool) *big.Float {
	square, power, sum := r.mul(x, x), r.new().Set(x), r.new().Set(x)
	if alternate {
		square.Neg(square)
	}
	for n := int64(3); ; n += 2 {
		power = r.mul(power, square)
		term := r.quo(power, r.int(n))
		if r.negligible(term, sum) {
			return sum
		}
		sum = r.add(sum, term)
	}
}

func (r real) ln2() *big.Float {
	return r.mul(r.int(2), r.oddSeries(r.quo(r.int(1), r.int(3)), false))
}

func (r real) pi() *big.Float { // Machin: 16 atan(1/5) - 4 atan(1/239)
	a := r.mul(r.int(16), r.oddSeries(r.quo(r.int(1), r.int(5)), true))
	return r.sub(a, r.mul(r.int(4), r.oddSeries(r.quo(r.int(1), r.int(239)), true)))
}

// ln of a positive number.
func (r real) ln(x *big.Float) *big.Float {
	m := r.new()
	k := x.MantExp(m)
	z := r.quo(r.sub(m, r.int(1)), r.add(m, r.int(1)))
	l := r.mul(r.int(2), r.oddSeries(z, false))
	return r.add(l, r.mul(r.int(int64(k)), r.ln2()))
}

// exp of a number whose result is in range.
func (r real) exp(x *big.Float) *big.Float {
	const halvings = 16
	ln2 := r.ln2()
	q, _ := r.quo(x, ln2).Int64()
	rest := r.sub(x, r.mul(r.int(q), ln2))
	small := r.new().SetMantExp(rest, -halvings)
	sum, term := r.int(1), r.int(1)
	for n := int64(1); ; n++ {
		term = r.quo(r.mul(term, small), r.int(n))
		if r.negligible(term, sum) {
			break
		}
		sum = r.add(sum, term)
	}
	for range halvings {
		sum = r.mul(sum, sum)
	}
	return r.new().SetMantExp(sum, int(q))
}

func (r real) sinCos(x *big.Float) (sin, cos *big.Float) {
	wide := r
	if e := x.MantExp(nil); e > 0 { // the reduction cancels this many bits
		wide.prec += uint(e)
	}
	pi := wide.pi()
	q := wide.quo(x, wide.half(pi))
	n, _ := wide.add(q, wide.new().SetFloat64(math.Copysign(0.5, float64(q.Sign())))).Int(nil)
	y := r.new().Set(wide.sub(wide.new().Set(x), wide.mul(wide.new().SetInt(n), wide.half(pi))))
	s, c := r.sinSeries(y), r.cosSeries(y)
	switch new(big.Int).And(n, big.NewInt(3)).Int64() { // two's complement, so negative n too
	case 0:
		return s, c
	case 1:
		return c, s.Neg(s)
	case 2:
		return s.Neg(s), c.Neg(c)
	default:
		return c.Neg(c), s
	}
}

func (r real) sinSeries(x *big.Float) *big.Float { return r.factorialSeries(x, r.new().Set(x), 1) }
func (r real) cosSeries(x *big.Float) *big.Float { return r.factorialSeries(x, r.int(1), 0) }

func (r real) factorialSeries(x, first *big.Float, n int64) *big.Float {
	square := r.mul(x, x)
	square.Neg(square)
	sum, term := r.new().Set(first), r.new().Set(first)
	for {
		term = r.quo(r.mul(term, square), r.int((n+1)*(n+2)))
		n += 2
		if r.negligible(term, sum) {
			return sum
		}
		sum = r.add(sum, term)
	}
}

func (r real) atan(x *big.Float) *big.Float {
	if r.new().Abs(x).Cmp(r.int(1)) > 0 {
		a := r.sub(r.half(r.pi()), r.atan(r.quo(r.int(1), r.new().Abs(x))))
		if x.Sign() < 0 {
			a.Neg(a)
		}
		return a
	}
	const halvings = 3
	y := r.new().Set(x)
	for range halvings { // atan y = 2 atan(y / (1 + √(1 + y²)))
		y = r.quo(y, r.add(r.int(1), r.sqrt(r.add(r.int(1), r.mul(y, y)))))
	}
	return r.new().SetMantExp(r.oddSeries(y, true), halvings)
}

// Functions of one variable by name; the domain has been checked and the
// argument is finite.
func (r real) function(name string, x *big.Float) *big.Float {
	one := r.int(1)
	if x.Sign() == 0 {
		switch name {
		case "cos", "cosh":
			return one
		case "acos":
			return r.half(r.pi())
		default:
			return x
		}
	}
	if x.MantExp(nil) < -int(r.prec)/6 { // x + c·x³ is all that shows
		switch name {
		case "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh":
			return r.tiny(name, x)
		}
	}
	switch name {
	case "sin":
		s, _ := r.sinCos(x)
		return s
	case "cos":
		_, c := r.sinCos(x)
		return c
	case "tan":
		s, c := r.sinCos(x)
		return r.quo(s, c)
	case "atan":
		return r.atan(x)
	case "asin":
		rest := r.sub(one, r.mul(x, x))
		if rest.Sign() == 0 {
			h := r.half(r.pi())
			if x.Sign() < 0 {
				h.Neg(h)
			}
			return h
		}
		return r.atan(r.quo(x, r.sqrt(rest)))
	case "acos":
		up := r.add(one, x)
		if up.Sign() == 0 {
			return r.pi()
		}
		return r.mul(r.int(2), r.atan(r.sqrt(r.quo(r.sub(one, x), up))))
	case "sinh":
		e := r.exp(x)
		return r.half(r.sub(e, r.quo(one, e)))
	case "cosh":
		e := r.exp(x)
		return r.half(r.add(e, r.quo(one, e)))
	case "tanh":
		if f, _ := x.Float64(); math.Abs(f) > float64(r.prec) {
			return r.int(int64(x.Sign()))
		}
		e := r.exp(r.mul(r.int(2), x))
		return r.quo(r.sub(e, one), r.add(e, one))
	case "asinh":
		a := r.new().Abs(x)
		l := r.ln(r.add(a, r.sqrt(r.add(r.mul(a, a), one))))
		if x.Sign() < 0 {
			l.Neg(l)
		}
		return l
	case "acosh":
		return r.ln(r.add(x, r.sqrt(r.sub(r.mul(x, x), one))))
	default: // atanh
		return r.half(r.ln(r.quo(r.add(one, x), r.sub(one, x))))
	}
}

func (r real) tiny(name string, x *big.Float) *big.Float {
	c := map[string]int64{"sin": -6, "tan": 3, "asin": 6, "atan": -3, "sinh": 6, "tanh": -3, "asinh": -6, "atanh": 3}[name]
	return r.add(x, r.quo(r.mul(x, r.mul(x, x)), r.int(c)))
}

func (r real) double(x *big.Float) float64 {
	f, _ := x.Float64()
	return f
}

// Exp is e to the f.
func Exp(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) || f == 0 || f > 710 || f < -746 {
		return math.Exp(f)
	}
	r := real{bitsForDouble}
	return r.double(r.exp(r.new().SetFloat64(f)))
}

// Log is the natural logarithm.
func Log(f float64) float64 {
	if !(f > 0) || math.IsInf(f, 0) || f == 1 {
		return math.Log(f)
	}
	r := real{bitsForDouble}
	return r.double(r.ln(r.new().SetFloat64(f)))
}

// Log10 takes the steps of the C library's log10, whose results aren't always
// the nearest.
func Log10(f float64) float64 {
	if !(f > 0) || math.IsInf(f, 0) {
		return math.Log10(f)
	}
	const (
		invLn10 = 4.34294481903251816668e-01
		log2Hi  = 3.01029995663611771306e-01
		log2Lo  = 3.69423907715893078616e-13
	)
	m, k := math.Frexp(f)
	m, k = 2*m, k-1
	y := float64(k)
	if k < 0 {
		m, y = m/2, y+1
	}
	z := float64(y*log2Lo) + float64(invLn10*Log(m))
	return float64(z) + float64(y*log2Hi)
}

// Pow is x to the y.
func Pow(x, y float64) float64 {
	plain := math.Pow(x, y)
	if x == 0 || math.Abs(x) == 1 || y == 0 || math.IsNaN(plain) || math.IsInf(plain, 0) || plain == 0 || math.IsInf(x, 0) || math.IsInf(y, 0) {
		return plain
	}
	r := real{bitsForDouble + 64}
	f := r.double(r.exp(r.mul(r.new().SetFloat64(y), r.ln(r.new().SetFloat64(math.Abs(x))))))
	return math.Copysign(f, plain)
}

// Trigonometric applies sin, cos, tan, asin, acos, atan, sinh, cosh, tanh,
// asinh, acosh or atanh; outside the domain it gives NaN.
func Trigonometric(name string, f float64) float64 {
	if plain, special := trigonometricSpecial(name, f); special {
		return plain
	}
	r := real{bitsForDouble}
	return r.double(r.function(name, r.new().SetFloat64(f)))
}

func trigonometricSpecial(name string, f float64) (result float64, special bool) {
	functions := map[string]func(float64) float64{
		"sin": math.Sin, "cos": math.Cos, "tan": math.Tan, "asin": math.Asin, "acos": math.Acos, "atan": math.Atan,
		"sinh": math.Sinh, "cosh": math.Cosh, "tanh": math.Tanh, "asinh": math.Asinh, "acosh": math.Acosh, "atanh": math.Atanh,
	}
	plain := functions[name](f)
	return plain, f == 0 || math.IsNaN(f) || math.IsInf(f, 0) || math.IsNaN(plain) || math.IsInf(plain, 0)
}

// Atan2 is the angle of the point (x, y).
func Atan2(y, x float64) float64 {
	plain := math.Atan2(y, x)
	if x == 0 || y == 0 || math.IsNaN(plain) || math.IsInf(x, 0) || math.IsInf(y, 0) {
		return plain
	}
	r := real{bitsForDouble}
	return r.double(r.atan2(r.new().SetFloat64(y), r.new().SetFloat64(x)))
}

func (r real) atan2(y, x *big.Float) *big.Float {
	if x.Sign() == 0 {
		h := r.half(r.pi())
		if y.Sign() < 0 {
			h.Neg(h)
		}
		return h
	}
	a := r.atan(r.quo(y, x))
	switch {
	case x.Sign() > 0:
		return a
	case y.Sign() < 0:
		return r.sub(a, r.pi())
	default:
		return r.add(a, r.pi())
	}
}

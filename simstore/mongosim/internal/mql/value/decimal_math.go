package value

import (
	"math/big"
	"strconv"
	"strings"
)

// Normalize fills the coefficient up to 34 digits.
func (d Decimal) Normalize() Decimal {
	return d.Add(Decimal{coef: new(big.Int), exp: decimalMinExp})
}

func (d Decimal) real(r real) *big.Float {
	f, _, _ := big.ParseFloat(d.coef.String()+"e"+strconv.Itoa(d.exp), 10, r.prec, big.ToNearestEven)
	if d.neg {
		f.Neg(f)
	}
	return f
}

// quad rounds to 113 bits. The server's decimal functions pass through binary
// numbers of that size, which shows in the last of 34 digits.
func (r real) quad(x *big.Float) *big.Float { return new(big.Float).SetPrec(113).Set(x) }

// round gives a result of 34 digits; fewer if it is exact.
func (r real) round(x *big.Float) Decimal {
	if x.Sign() == 0 {
		return DecimalFromInt(0)
	}
	if exact, ok := exactDecimal(x); ok {
		return exact
	}
	return r.rounded(x)
}

func (r real) rounded(x *big.Float) Decimal {
	s := x.Text('e', 60)
	neg := strings.HasPrefix(s, "-")
	m, e, _ := strings.Cut(strings.TrimPrefix(s, "-"), "e")
	exp, _ := strconv.Atoi(e)
	c, _ := new(big.Int).SetString(strings.Replace(m, ".", "", 1), 10)
	return fit(neg, c, exp-60, HalfEven)
}

// Exp is e to the d.
func (d Decimal) Exp() Decimal {
	switch {
	case d.form == nan:
		return d
	case d.form == infinite && d.neg:
		return DecimalFromInt(0)
	case d.form == infinite:
		return d
	case d.IsZero():
		return DecimalFromInt(1)
	case d.adjusted() > 5: // far out of range
		if d.neg {
			return Decimal{coef: new(big.Int), exp: decimalMinExp}
		}
		return DecimalInf(false)
	}
	r, q := real{bitsForDecimal}, real{113}
	x := d.real(r)
	high := r.quad(x)
	low := r.quad(r.sub(x, high))
	e := r.quad(r.exp(r.new().Set(high)))
	return r.round(q.add(e, q.mul(e, low)))
}

// Ln is the natural logarithm of a positive number.
func (d Decimal) Ln() Decimal {
	return d.logarithm(func(r real, ln *big.Float) *big.Float { return r.quad(ln) })
}

// Log10 is the logarithm to base 10 of a positive number.
func (d Decimal) Log10() Decimal {
	return d.logarithm(func(r real, ln *big.Float) *big.Float {
		inverse := r.quad(r.quo(r.int(1), r.ln(r.int(10))))
		return real{113}.mul(r.quad(ln), inverse)
	})
}

// Log2 is the logarithm to base 2 of a positive number.
func (d Decimal) Log2() Decimal {
	return d.logarithm(func(r real, ln *big.Float) *big.Float { return r.quad(r.quo(ln, r.ln2())) })
}

func (d Decimal) logarithm(scale func(real, *big.Float) *big.Float) Decimal {
	if d.form != finite {
		return d
	}
	r := real{bitsForDecimal}
	return r.round(scale(r, r.ln(d.real(r))))
}

// exactDecimal gives a number that needs no more than 34 digits as it is.
func exactDecimal(x *big.Float) (Decimal, bool) {
	exp := x.MantExp(nil) - int(x.MinPrec()) // of the last bit
	if exp > 0 || exp < -48 {
		return Decimal{}, false
	}
	c, _ := new(big.Float).SetMantExp(x, -exp).Int(nil)
	c.Abs(c).Mul(c, new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(-exp)), nil))
	if digits(c) > decimalDigits {
		return Decimal{}, false
	}
	return Decimal{neg: x.Sign() < 0, coef: c, exp: exp}, true
}

// Pow is d to the e, filled up to 34 digits as the server's is.
func (d Decimal) Pow(e Decimal) Decimal { return d.pow(e).Normalize() }

func (d Decimal) pow(e Decimal) Decimal {
	one := DecimalFromInt(1)
	_, whole, fits := e.Int64(TowardZero)
	whole = whole || e.form == finite && e.exp >= 0
	odd := whole && fits && e.isOdd()
	switch {
	case e.IsZero() || d.Cmp(one) == 0 && d.form == finite:
		return one
	case d.form == nan || e.form == nan:
		return DecimalNaN()
	case e.form == infinite:
		switch c := d.Abs().Cmp(one); {
		case c == 0:
			return one
		case (c > 0) == e.neg:
			return DecimalFromInt(0)
		default:
			return DecimalInf(false)
		}
	case d.form == infinite:
		if e.neg {
			return Decimal{neg: d.neg && odd, coef: new(big.Int)}
		}
		return DecimalInf(d.neg && odd)
	case d.IsZero():
		return Decimal{neg: d.neg && odd, coef: new(big.Int)}
	case d.neg && !whole:
		return DecimalNaN()
	}
	r := real{bitsForDecimal}
	l := r.mul(e.real(r), r.ln(d.Abs().real(r)))
	if f, _ := l.Float64(); f > 15000 {
		return DecimalInf(d.neg && odd)
	} else if f < -15000 {
		return Decimal{neg: d.neg && odd, coef: new(big.Int), exp: decimalMinExp}
	}
	high := r.round(l)
	p := high.Exp()
	if p.form == finite && p.coef.Sign() != 0 { // correct by what high leaves out
		low := r.sub(l, high.real(r))
		x := p.real(r)
		p = r.rounded(r.add(x, r.mul(x, low)))
	}
	p.neg = d.neg && odd
	return p
}

func (d Decimal) isOdd() bool {
	n, exact, ok := d.Int64(TowardZero)
	return exact && ok && n%2 != 0
}

// Trigonometric applies a function as its namesake for doubles does.
func (d Decimal) Trigonometric(name string) Decimal {
	if d.form == nan {
		return d
	}
	if d.form == infinite {
		switch name {
		case "atan":
			r := real{bitsForDecimal}
			h := r.round(r.half(r.pi()))
			h.neg = d.neg
			return h
		case "cosh":
			return DecimalInf(false)
		case "tanh":
			one := DecimalFromInt(1)
			one.neg = d.neg
			return one
		case "sinh", "asinh", "acosh":
			return d
		default:
			return DecimalNaN()
		}
	}
	one := DecimalFromInt(1)
	r := real{bitsForDecimal}
	switch name {
	case "asin", "acos", "atanh":
		c := d.Abs().Cmp(one)
		if c > 0 {
			return DecimalNaN()
		}
		if c == 0 && name == "atanh" {
			return DecimalInf(d.neg)
		}
	case "acosh":
		if d.Cmp(one) < 0 {
			return DecimalNaN()
		}
	case "sinh", "cosh":
		if d.coef.Sign() != 0 && d.adjusted() > 5 {
			return DecimalInf(d.neg && name == "sinh")
		}
	case "tanh":
		if d.coef.Sign() != 0 && d.adjusted() > 3 {
			one.neg = d.neg
			return one
		}
	}
	if d.IsZero() && name != "cos" && name != "cosh" && name != "acos" {
		return d
	}
	return r.round(r.function(name, d.real(r)))
}

// Atan2 is the angle of the point (x, d).
func (d Decimal) Atan2(x Decimal) Decimal {
	if d.form != finite || x.form != finite || d.IsZero() {
		return DecimalFromDoubleExact(Atan2(d.Float64(), x.Float64()))
	}
	r := real{bitsForDecimal}
	return r.round(r.atan2(d.real(r), x.real(r)))
}

// DegreesToRadians multiplies by π/180.
func (d Decimal) DegreesToRadians() Decimal {
	r := real{bitsForDecimal}
	return d.Mul(r.round(r.quo(r.pi(), r.int(180))))
}

// RadiansToDegrees multiplies by 180/π.
func (d Decimal) RadiansToDegrees() Decimal {
	r := real{bitsForDecimal}
	return d.Mul(r.round(r.quo(r.int(180), r.pi())))
}

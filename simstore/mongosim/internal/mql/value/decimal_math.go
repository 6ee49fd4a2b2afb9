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

// round gives a result of 34 digits.
func (r real) round(x *big.Float) Decimal {
	if x.Sign() == 0 {
		return DecimalFromInt(0)
	}
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
	r := real{bitsForDecimal}
	return r.round(r.exp(d.real(r)))
}

// Ln is the natural logarithm of a positive number.
func (d Decimal) Ln() Decimal {
	return d.logarithm(func(_ real, ln *big.Float) *big.Float { return ln })
}

// Log10 is the logarithm to base 10 of a positive number.
func (d Decimal) Log10() Decimal {
	return d.logarithm(func(r real, ln *big.Float) *big.Float { return r.quo(ln, r.ln(r.int(10))) })
}

// Log2 is the logarithm to base 2 of a positive number.
func (d Decimal) Log2() Decimal {
	return d.logarithm(func(r real, ln *big.Float) *big.Float { return r.quo(ln, r.ln2()) })
}

func (d Decimal) logarithm(scale func(real, *big.Float) *big.Float) Decimal {
	if d.form != finite {
		return d
	}
	r := real{bitsForDecimal}
	return r.round(scale(r, r.ln(d.real(r))))
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
	p := r.round(r.exp(l))
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

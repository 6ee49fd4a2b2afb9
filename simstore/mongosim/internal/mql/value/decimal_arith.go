package value

import "math/big"

// Abs clears the sign.
func (d Decimal) Abs() Decimal {
	d.neg = false
	return d
}

// Neg turns the sign around.
func (d Decimal) Neg() Decimal {
	d.neg = !d.neg
	return d
}

func (d Decimal) signed() *big.Int {
	if d.neg {
		return new(big.Int).Neg(d.coef)
	}
	return d.coef
}

// Add adds, rounding half to even; an exact sum keeps the smaller exponent.
func (d Decimal) Add(e Decimal) Decimal {
	switch {
	case d.form == nan || e.form == nan:
		return DecimalNaN()
	case d.form == infinite && e.form == infinite:
		if d.neg != e.neg {
			return DecimalNaN()
		}
		return d
	case d.form == infinite:
		return d
	case e.form == infinite:
		return e
	}
	a, b, exp := d.signed(), e.signed(), min(d.exp, e.exp)
	if d.exp > exp {
		a = new(big.Int).Mul(a, pow10(d.exp-exp))
	}
	if e.exp > exp {
		b = new(big.Int).Mul(b, pow10(e.exp-exp))
	}
	s := new(big.Int).Add(a, b)
	neg := s.Sign() < 0
	if s.Sign() == 0 {
		neg = d.neg && e.neg
	}
	return fit(neg, s.Abs(s), exp, HalfEven)
}

// Sub subtracts.
func (d Decimal) Sub(e Decimal) Decimal { return d.Add(e.Neg()) }

// Mul multiplies; an exact product's exponent is the sum of the exponents.
func (d Decimal) Mul(e Decimal) Decimal {
	neg := d.neg != e.neg
	switch {
	case d.form == nan || e.form == nan:
		return DecimalNaN()
	case d.form == infinite || e.form == infinite:
		if d.IsZero() || e.IsZero() {
			return DecimalNaN()
		}
		return DecimalInf(neg)
	}
	return fit(neg, new(big.Int).Mul(d.coef, e.coef), d.exp+e.exp, HalfEven)
}

// Quo divides; an exact quotient's exponent comes as near as possible to the
// difference of the exponents. A number divided by zero is infinite.
func (d Decimal) Quo(e Decimal) Decimal {
	neg := d.neg != e.neg
	switch {
	case d.form == nan || e.form == nan || d.form == infinite && e.form == infinite:
		return DecimalNaN()
	case d.form == infinite:
		return DecimalInf(neg)
	case e.form == infinite:
		return Decimal{neg: neg, coef: new(big.Int), exp: decimalMinExp}
	case e.IsZero():
		if d.IsZero() {
			return DecimalNaN()
		}
		return DecimalInf(neg)
	}
	ideal := d.exp - e.exp
	if d.IsZero() {
		return fit(neg, new(big.Int), min(max(ideal, decimalMinExp), decimalMaxExp), HalfEven)
	}
	shift := max(decimalDigits+2+digits(e.coef)-digits(d.coef), 0)
	q, r := new(big.Int).QuoRem(new(big.Int).Mul(d.coef, pow10(shift)), e.coef, new(big.Int))
	return settle(neg, q, ideal-shift, r.Sign() == 0, ideal)
}

// settle rounds a result of at least 36 digits: an inexact one to 34 digits,
// an exact one with its exponent as near to ideal as possible.
func settle(neg bool, c *big.Int, exp int, exact bool, ideal int) Decimal {
	if !exact { // a digit that tells half from more than half
		c = new(big.Int).Mul(c, pow10(1))
		return fit(neg, c.Add(c, powersOfTen[0]), exp-1, HalfEven)
	}
	t := Decimal{neg: neg, coef: c, exp: exp}.trim(ideal)
	return fit(neg, t.coef, t.exp, HalfEven)
}

// Rem gives what is left of dividing d by e with the quotient cut to a whole
// number: it has the sign of d.
func (d Decimal) Rem(e Decimal) Decimal {
	switch {
	case d.form != finite || e.form == nan || e.IsZero():
		return DecimalNaN()
	case e.form == infinite:
		return d
	}
	exp := min(d.exp, e.exp)
	m := e.coef
	if e.exp > exp {
		m = new(big.Int).Mul(m, pow10(e.exp-exp))
	}
	c := d.coef
	if d.exp > exp {
		p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.exp-exp)), m)
		c = p.Mul(p, c)
	}
	return fit(d.neg, new(big.Int).Rem(c, m), exp, HalfEven)
}

// Sqrt is correctly rounded; of a negative number it is NaN.
func (d Decimal) Sqrt() Decimal {
	switch {
	case d.form == nan || d.neg && !d.IsZero():
		return DecimalNaN()
	case d.form == infinite:
		return d
	}
	ideal := d.exp >> 1
	if d.IsZero() {
		return Decimal{neg: d.neg, coef: new(big.Int), exp: ideal}
	}
	shift := max(2*(decimalDigits+2)-digits(d.coef), 0)
	if (d.exp-shift)%2 != 0 {
		shift++
	}
	c := new(big.Int).Mul(d.coef, pow10(shift))
	root := new(big.Int).Sqrt(c)
	exact := new(big.Int).Mul(root, root).Cmp(c) == 0
	return settle(false, root, (d.exp-shift)/2, exact, ideal)
}

// Quantize rounds to the exponent; NaN if that needs more than 34 digits.
func (d Decimal) Quantize(exp int, mode Rounding) Decimal {
	if d.form != finite {
		return d
	}
	c := d.coef
	switch {
	case c.Sign() == 0:
	case exp < d.exp:
		if d.exp-exp > decimalDigits {
			return DecimalNaN()
		}
		c = new(big.Int).Mul(c, pow10(d.exp-exp))
	case exp-d.exp > digits(c)+1:
		c = drop(big.NewInt(1), 2, d.neg, mode)
	default:
		c = drop(c, exp-d.exp, d.neg, mode)
	}
	if digits(c) > decimalDigits {
		return DecimalNaN()
	}
	return Decimal{neg: d.neg, coef: c, exp: exp}
}

package expr

// Sin ($sin) is the sine of x in radians.
func Sin(x any) Expr { return unary("$sin", x) }

// Cos ($cos) is the cosine of x in radians.
func Cos(x any) Expr { return unary("$cos", x) }

// Tan ($tan) is the tangent of x in radians.
func Tan(x any) Expr { return unary("$tan", x) }

// Asin ($asin) is the arc sine of x.
func Asin(x any) Expr { return unary("$asin", x) }

// Acos ($acos) is the arc cosine of x.
func Acos(x any) Expr { return unary("$acos", x) }

// Atan ($atan) is the arc tangent of x.
func Atan(x any) Expr { return unary("$atan", x) }

// Sinh ($sinh) is the hyperbolic sine of x.
func Sinh(x any) Expr { return unary("$sinh", x) }

// Cosh ($cosh) is the hyperbolic cosine of x.
func Cosh(x any) Expr { return unary("$cosh", x) }

// Tanh ($tanh) is the hyperbolic tangent of x.
func Tanh(x any) Expr { return unary("$tanh", x) }

// Asinh ($asinh) is the inverse hyperbolic sine of x.
func Asinh(x any) Expr { return unary("$asinh", x) }

// Acosh ($acosh) is the inverse hyperbolic cosine of x.
func Acosh(x any) Expr { return unary("$acosh", x) }

// Atanh ($atanh) is the inverse hyperbolic tangent of x.
func Atanh(x any) Expr { return unary("$atanh", x) }

// DegreesToRadians ($degreesToRadians) is x degrees in radians.
func DegreesToRadians(x any) Expr { return unary("$degreesToRadians", x) }

// RadiansToDegrees ($radiansToDegrees) is x radians in degrees.
func RadiansToDegrees(x any) Expr { return unary("$radiansToDegrees", x) }

// Atan2 ($atan2) is the angle of the point (x, y).
func Atan2(y, x any) Expr { return nary("$atan2", y, x) }

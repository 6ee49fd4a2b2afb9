package expr

import "go.mongodb.org/mongo-driver/v2/bson"

// Abs ($abs) is the absolute value of x.
func Abs(x any) Expr { return unary("$abs", x) }

// Ceil ($ceil) is x rounded up.
func Ceil(x any) Expr { return unary("$ceil", x) }

// Floor ($floor) is x rounded down.
func Floor(x any) Expr { return unary("$floor", x) }

// Exp ($exp) is e to the power of x.
func Exp(x any) Expr { return unary("$exp", x) }

// Ln ($ln) is the natural logarithm of x.
func Ln(x any) Expr { return unary("$ln", x) }

// Log10 ($log10) is the logarithm of x to base 10.
func Log10(x any) Expr { return unary("$log10", x) }

// Sqrt ($sqrt) is the square root of x.
func Sqrt(x any) Expr { return unary("$sqrt", x) }

// Divide ($divide) is x divided by y.
func Divide(x, y any) Expr { return nary("$divide", x, y) }

// Log ($log) is the logarithm of x to the base.
func Log(x, base any) Expr { return nary("$log", x, base) }

// Mod ($mod) is the remainder of x divided by y.
func Mod(x, y any) Expr { return nary("$mod", x, y) }

// Pow ($pow) is x to the power of the exponent.
func Pow(x, exponent any) Expr { return nary("$pow", x, exponent) }

// Subtract ($subtract) is x minus y; of two dates, the milliseconds between them.
func Subtract(x, y any) Expr { return nary("$subtract", x, y) }

// Round ($round) is x rounded to so many decimal places, halves to the even neighbour.
func Round(x, places any) Expr { return nary("$round", x, places) }

// Trunc ($trunc) is x cut off after so many decimal places.
func Trunc(x, places any) Expr { return nary("$trunc", x, places) }

// Add ($add) is the sum of the arguments; one of them may be a date.
func Add(xs ...any) Expr { return variadic("$add", 1, xs) }

// Multiply ($multiply) is the product of the arguments.
func Multiply(xs ...any) Expr { return variadic("$multiply", 1, xs) }

// BitAnd ($bitAnd) is the bits set in all arguments (server 6.3).
func BitAnd(xs ...any) Expr { return variadic("$bitAnd", 1, xs) }

// BitOr ($bitOr) is the bits set in any argument (server 6.3).
func BitOr(xs ...any) Expr { return variadic("$bitOr", 1, xs) }

// BitXor ($bitXor) is the bits set in an odd number of arguments (server 6.3).
func BitXor(xs ...any) Expr { return variadic("$bitXor", 1, xs) }

// BitNot ($bitNot) is x with every bit turned over (server 6.3).
func BitNot(x any) Expr { return unary("$bitNot", x) }

// Rand ($rand) is a random number from 0 up to 1 (server 4.4.2).
func Rand() Expr { return Expr{value: bson.D{{Key: "$rand", Value: bson.D{}}}} }

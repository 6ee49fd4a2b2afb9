package expr

// ToBool ($toBool) is x as a boolean.
func ToBool(x any) Expr { return unary("$toBool", x) }

// ToDate ($toDate) is x as a date.
func ToDate(x any) Expr { return unary("$toDate", x) }

// ToDecimal ($toDecimal) is x as a decimal.
func ToDecimal(x any) Expr { return unary("$toDecimal", x) }

// ToDouble ($toDouble) is x as a double.
func ToDouble(x any) Expr { return unary("$toDouble", x) }

// ToInt ($toInt) is x as a 32-bit integer.
func ToInt(x any) Expr { return unary("$toInt", x) }

// ToLong ($toLong) is x as a 64-bit integer.
func ToLong(x any) Expr { return unary("$toLong", x) }

// ToObjectID ($toObjectId) is x as an ObjectId.
func ToObjectID(x any) Expr { return unary("$toObjectId", x) }

// ToString ($toString) is x as a string.
func ToString(x any) Expr { return unary("$toString", x) }

// ToUUID ($toUUID) is x as a UUID (server 8.0).
func ToUUID(x any) Expr { return unary("$toUUID", x) }

// Type ($type) is the name of the BSON type of x, "missing" for a missing field.
func Type(x any) Expr { return unary("$type", x) }

// IsNumber ($isNumber) is true if x is a number.
func IsNumber(x any) Expr { return unary("$isNumber", x) }

// BSONSize ($bsonSize) is the size of the document in bytes.
func BSONSize(document any) Expr { return unary("$bsonSize", document) }

// BinarySize ($binarySize) is the size of a string or binary value in bytes.
func BinarySize(x any) Expr { return unary("$binarySize", x) }

// TSSecond ($tsSecond) is the seconds of a timestamp (server 5.1).
func TSSecond(x any) Expr { return unary("$tsSecond", x) }

// TSIncrement ($tsIncrement) is the increment of a timestamp (server 5.1).
func TSIncrement(x any) Expr { return unary("$tsIncrement", x) }

// Convert ($convert) is x as the BSON type of the given name, onError if it
// can't be converted and onNull if it is null or missing; nil leaves those out.
func Convert(x any, to string, onError, onNull any) Expr {
	return named("$convert", need("input", x), need("to", Value(to)), opt("onError", onError), opt("onNull", onNull))
}

package expr

// Concat ($concat) is the strings one after the other; null if one of them is.
func Concat(xs ...any) Expr { return variadic("$concat", 1, xs) }

// Split ($split) is the parts of the text between the separators.
func Split(text, separator any) Expr { return nary("$split", text, separator) }

// StrLenBytes ($strLenBytes) is the length of the text in bytes.
func StrLenBytes(text any) Expr { return unary("$strLenBytes", text) }

// StrLenCP ($strLenCP) is the length of the text in code points.
func StrLenCP(text any) Expr { return unary("$strLenCP", text) }

// Strcasecmp ($strcasecmp) is -1, 0 or 1 by comparing without regard to case.
func Strcasecmp(x, y any) Expr { return nary("$strcasecmp", x, y) }

// SubstrBytes ($substrBytes) is a part of the text, in bytes.
func SubstrBytes(text, start, count any) Expr { return nary("$substrBytes", text, start, count) }

// SubstrCP ($substrCP) is a part of the text, in code points.
func SubstrCP(text, start, count any) Expr { return nary("$substrCP", text, start, count) }

// ToLower ($toLower) is the text in lower case.
func ToLower(text any) Expr { return unary("$toLower", text) }

// ToUpper ($toUpper) is the text in upper case.
func ToUpper(text any) Expr { return unary("$toUpper", text) }

// IndexOfBytes ($indexOfBytes) is where the part starts in the text, in bytes,
// or -1. Up to two numbers may follow: where the search starts and ends.
func IndexOfBytes(text, part any, bounds ...any) Expr {
	return bounded("$indexOfBytes", text, part, bounds)
}

// IndexOfCP ($indexOfCP) is where the part starts in the text, in code points,
// or -1. Up to two numbers may follow: where the search starts and ends.
func IndexOfCP(text, part any, bounds ...any) Expr { return bounded("$indexOfCP", text, part, bounds) }

// IndexOfArray ($indexOfArray) is the index of the first element that equals x,
// or -1. Up to two numbers may follow: where the search starts and ends.
func IndexOfArray(array, x any, bounds ...any) Expr {
	return bounded("$indexOfArray", array, x, bounds)
}

func bounded(op string, x, y any, bounds []any) Expr {
	if len(bounds) > 2 {
		return failf("%s takes a start and an end, not %d bounds", op, len(bounds))
	}
	return nary(op, append([]any{x, y}, bounds...)...)
}

// Trim ($trim) is the text without the given characters at both ends; chars nil means white space.
func Trim(text, chars any) Expr { return named("$trim", need("input", text), opt("chars", chars)) }

// LTrim ($ltrim) trims the start of the text.
func LTrim(text, chars any) Expr { return named("$ltrim", need("input", text), opt("chars", chars)) }

// RTrim ($rtrim) trims the end of the text.
func RTrim(text, chars any) Expr { return named("$rtrim", need("input", text), opt("chars", chars)) }

// ReplaceOne ($replaceOne) replaces the first occurrence of find.
func ReplaceOne(text, find, replacement any) Expr {
	return named("$replaceOne", need("input", text), need("find", find), need("replacement", replacement))
}

// ReplaceAll ($replaceAll) replaces every occurrence of find.
func ReplaceAll(text, find, replacement any) Expr {
	return named("$replaceAll", need("input", text), need("find", find), need("replacement", replacement))
}

// RegexMatch ($regexMatch) is true if the text matches the pattern. Options are
// out of "imsx"; the pattern is a program, don't take it from outside.
func RegexMatch(text, pattern any, options string) Expr {
	return regex("$regexMatch", text, pattern, options)
}

// RegexFind ($regexFind) is {match, idx, captures} of the first match, or null.
func RegexFind(text, pattern any, options string) Expr {
	return regex("$regexFind", text, pattern, options)
}

// RegexFindAll ($regexFindAll) is an array with every match.
func RegexFindAll(text, pattern any, options string) Expr {
	return regex("$regexFindAll", text, pattern, options)
}

func regex(op string, text, pattern any, options string) Expr {
	var o any
	if options != "" {
		o = options
	}
	return named(op, need("input", text), need("regex", pattern), opt("options", o))
}

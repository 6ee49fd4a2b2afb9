package expr

import (
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func stringOperators() map[string]*operator {
	return map[string]*operator{
		"$concat":       {most: -1, eval: concat, associative: true},
		"$indexOfBytes": {least: 2, most: 4, eval: indexOfBytes},
		"$indexOfCP":    {least: 2, most: 4, eval: indexOfCP},
		"$split":        binary(split),
		"$strLenBytes":  unary(strLenBytes),
		"$strLenCP":     unary(strLenCP),
		"$binarySize":   unary(binarySize),
		"$strcasecmp":   binary(strcasecmp),
		"$substr":       {least: 3, most: 3, eval: substrBytes},
		"$substrBytes":  {least: 3, most: 3, eval: substrBytes},
		"$substrCP":     {least: 3, most: 3, eval: substrCP},
		"$toLower":      unary(mapBytes(lower)),
		"$toUpper":      unary(mapBytes(upper)),
		"$trim":         trimOperator("$trim", true, true),
		"$ltrim":        trimOperator("$ltrim", true, false),
		"$rtrim":        trimOperator("$rtrim", false, true),
		"$replaceOne":   replaceOperator("$replaceOne", 1),
		"$replaceAll":   replaceOperator("$replaceAll", -1),
	}
}

func concat(s *scope, args []node) (bson.RawValue, error) {
	var b strings.Builder
	for _, n := range args {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if v.Type != bson.TypeString {
			return bson.RawValue{}, fail(16702, "$concat only supports strings, not %s", value.TypeName(v.Type))
		}
		b.WriteString(value.AsString(v))
	}
	return value.String(b.String()), nil
}

// subjectAndToken evaluates the first two arguments of $indexOfBytes and
// $indexOfCP; null tells that the first is nullish.
func subjectAndToken(s *scope, name string, args []node, notString [2]mongoerr.Code) (subject, token string, null bool, err error) {
	var out [2]string
	for i, which := range [...]string{"first", "second"} {
		v, err := args[i].eval(s)
		if err != nil {
			return "", "", false, err
		}
		if i == 0 && value.Nullish(v) {
			return "", "", true, nil
		}
		if v.Type != bson.TypeString {
			return "", "", false, fail(notString[i], "%s requires a string as the %s argument, found: %s", name, which, value.TypeName(v.Type))
		}
		out[i] = value.AsString(v)
	}
	return out[0], out[1], false, nil
}

func indexOfBytes(s *scope, args []node) (bson.RawValue, error) {
	subject, token, null, err := subjectAndToken(s, "$indexOfBytes", args, [2]mongoerr.Code{40091, 40092})
	if err != nil {
		return bson.RawValue{}, err
	}
	if null {
		return value.Null(), nil
	}
	start, end, err := searchRange(s, "$indexOfBytes", args, len(subject))
	if err != nil {
		return bson.RawValue{}, err
	}
	if start > len(subject) || end < start {
		return value.Int32(-1), nil
	}
	i := strings.Index(subject[start:end], token)
	if i < 0 {
		return value.Int32(-1), nil
	}
	return value.Int32(int32(start + i)), nil
}

func indexOfCP(s *scope, args []node) (bson.RawValue, error) {
	subject, token, null, err := subjectAndToken(s, "$indexOfCP", args, [2]mongoerr.Code{40093, 40094})
	if err != nil {
		return bson.RawValue{}, err
	}
	if null {
		return value.Null(), nil
	}
	start := 0
	if len(args) > 2 {
		if start, err = searchIndex(s, "$indexOfCP", "starting index", args[2]); err != nil {
			return bson.RawValue{}, err
		}
	}
	length, startByte := 0, 0
	for i := 0; i < len(subject); length++ {
		if length == start {
			startByte = i
		}
		if !utf8.RuneStart(subject[i]) {
			return bson.RawValue{}, fail(40095, "$indexOfCP found bad UTF-8 in the input")
		}
		i += codePointLength(subject[i])
	}
	end := length
	if len(args) > 3 {
		if end, err = searchIndex(s, "$indexOfCP", "ending index", args[3]); err != nil {
			return bson.RawValue{}, err
		}
		end = min(end, length)
	}
	if startByte == 0 && subject == "" && token == "" {
		return value.Int32(0), nil
	}
	for at, i := start, startByte; at < end && i <= len(subject); at++ {
		if strings.HasPrefix(subject[i:], token) {
			return value.Int32(int32(at)), nil
		}
		if i == len(subject) {
			break
		}
		i += codePointLength(subject[i])
	}
	return value.Int32(-1), nil
}

// codePointLength reads the length of a code point off its first byte.
func codePointLength(b byte) int {
	n := 0
	for ; b&0x80 != 0; b <<= 1 {
		n++
	}
	return max(n, 1)
}

func split(v, by bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(v) || value.Nullish(by) {
		return value.Null(), nil
	}
	if v.Type != bson.TypeString {
		return bson.RawValue{}, fail(40085, "$split requires an expression that evaluates to a string as a first argument, found: %s", value.TypeName(v.Type))
	}
	if by.Type != bson.TypeString {
		return bson.RawValue{}, fail(40086, "$split requires an expression that evaluates to a string as a second argument, found: %s", value.TypeName(by.Type))
	}
	if value.AsString(by) == "" {
		return bson.RawValue{}, fail(40087, "$split requires a non-empty separator")
	}
	var out value.Arr
	for part := range strings.SplitSeq(value.AsString(v), value.AsString(by)) {
		out.Add(value.String(part))
	}
	return out.Value(), nil
}

func strLenBytes(v bson.RawValue) (bson.RawValue, error) {
	if v.Type != bson.TypeString {
		return bson.RawValue{}, fail(34473, "$strLenBytes requires a string argument, found: %s", value.TypeName(v.Type))
	}
	return value.Int32(int32(len(value.AsString(v)))), nil
}

func strLenCP(v bson.RawValue) (bson.RawValue, error) {
	if v.Type != bson.TypeString {
		return bson.RawValue{}, fail(34471, "$strLenCP requires a string argument, found: %s", value.TypeName(v.Type))
	}
	n := 0
	for i, s := 0, value.AsString(v); i < len(s); i++ {
		if utf8.RuneStart(s[i]) {
			n++
		}
	}
	return value.Int32(int32(n)), nil
}

func binarySize(v bson.RawValue) (bson.RawValue, error) {
	switch {
	case value.Nullish(v):
		return value.Null(), nil
	case v.Type == bson.TypeString:
		return value.Int32(int32(len(value.AsString(v)))), nil
	case v.Type == bson.TypeBinary:
		_, data := value.AsBinary(v)
		return value.Int32(int32(len(data))), nil
	default:
		return bson.RawValue{}, fail(51276, "$binarySize requires a string or BinData argument, found: %s", value.TypeName(v.Type))
	}
}

// upper and lower change ASCII letters only.
func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c - 'A' + 'a'
	}
	return c
}

func mapString(s string, f func(byte) byte) string {
	b := []byte(s)
	for i := range b {
		b[i] = f(b[i])
	}
	return string(b)
}

func mapBytes(f func(byte) byte) func(bson.RawValue) (bson.RawValue, error) {
	return func(v bson.RawValue) (bson.RawValue, error) {
		s, err := coerceString(v)
		if err != nil {
			return bson.RawValue{}, err
		}
		return value.String(mapString(s, f)), nil
	}
}

func strcasecmp(a, b bson.RawValue) (bson.RawValue, error) {
	x, err := coerceString(a)
	if err != nil {
		return bson.RawValue{}, err
	}
	y, err := coerceString(b)
	if err != nil {
		return bson.RawValue{}, err
	}
	return value.Int32(int32(strings.Compare(mapString(x, upper), mapString(y, upper)))), nil
}

func evalAll(s *scope, args []node) ([]bson.RawValue, error) {
	out := make([]bson.RawValue, len(args))
	for i, n := range args {
		if n == nil {
			continue
		}
		v, err := n.eval(s)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func substrBytes(s *scope, args []node) (bson.RawValue, error) {
	const name = "$substrBytes"
	vs, err := evalAll(s, args)
	if err != nil {
		return bson.RawValue{}, err
	}
	str, err := coerceString(vs[0])
	if err != nil {
		return bson.RawValue{}, err
	}
	plain := func(v bson.RawValue) bool { return value.IsNumber(v) && v.Type != bson.TypeDecimal128 }
	if !plain(vs[1]) {
		return bson.RawValue{}, fail(16034, "%s:  starting index must be a numeric type (is BSON type %s)", name, value.TypeName(vs[1].Type))
	}
	if !plain(vs[2]) {
		return bson.RawValue{}, fail(16035, "%s:  length must be a numeric type (is BSON type %s)", name, value.TypeName(vs[2].Type))
	}
	start, err := coerceInt64(vs[1])
	if err != nil {
		return bson.RawValue{}, err
	}
	if start < 0 {
		return bson.RawValue{}, fail(50752, "%s:  starting index must be non-negative (got: %d)", name, start)
	}
	length, err := coerceInt64(vs[2])
	if err != nil {
		return bson.RawValue{}, err
	}
	size := int64(len(str))
	if length < 0 {
		length = size
	}
	if start < size && !utf8.RuneStart(str[start]) {
		return bson.RawValue{}, fail(28656, "%s:  Invalid range, starting index is a UTF-8 continuation byte.", name)
	}
	if end := start + length; end >= 0 && end < size && !utf8.RuneStart(str[end]) {
		return bson.RawValue{}, fail(28657, "%s:  Invalid range, ending index is in the middle of a UTF-8 character.", name)
	}
	if start >= size {
		return value.String(""), nil
	}
	return value.String(str[start : start+min(length, size-start)]), nil
}

func substrCP(s *scope, args []node) (bson.RawValue, error) {
	const name = "$substrCP"
	vs, err := evalAll(s, args)
	if err != nil {
		return bson.RawValue{}, err
	}
	str, err := coerceString(vs[0])
	if err != nil {
		return bson.RawValue{}, err
	}
	if !value.IsNumber(vs[1]) {
		return bson.RawValue{}, fail(34450, "%s: starting index must be a numeric type (is BSON type %s)", name, value.TypeName(vs[1].Type))
	}
	start, ok := value.Int32Exact(vs[1])
	if !ok {
		return bson.RawValue{}, fail(34451, "%s: starting index cannot be represented as a 32-bit integral value: %s", name, show(vs[1]))
	}
	if !value.IsNumber(vs[2]) {
		return bson.RawValue{}, fail(34452, "%s: length must be a numeric type (is BSON type %s)", name, value.TypeName(vs[2].Type))
	}
	length, ok := value.Int32Exact(vs[2])
	if !ok {
		return bson.RawValue{}, fail(34453, "%s: length cannot be represented as a 32-bit integral value: %s", name, show(vs[2]))
	}
	if length < 0 {
		return bson.RawValue{}, fail(34454, "%s: length must be a nonnegative integer.", name)
	}
	if start < 0 {
		return bson.RawValue{}, fail(34455, "%s: the starting index must be nonnegative integer.", name)
	}
	from, err := advance(str, 0, int(start), 34456, 34457)
	if err != nil {
		return bson.RawValue{}, err
	}
	if from >= len(str) {
		return value.String(""), nil
	}
	to, err := advance(str, from, int(length), 34458, 34459)
	if err != nil {
		return bson.RawValue{}, err
	}
	return value.String(str[from:min(to, len(str))]), nil
}

// advance goes n code points on, or to the end.
func advance(str string, at, n int, continuation, tooLong mongoerr.Code) (int, error) {
	for ; n > 0 && at < len(str); n-- {
		if !utf8.RuneStart(str[at]) {
			return 0, fail(continuation, "$substrCP: invalid UTF-8 string")
		}
		l := codePointLength(str[at])
		if l > 4 {
			return 0, fail(tooLong, "$substrCP: invalid UTF-8 string")
		}
		at += l
	}
	return at, nil
}

func trimOperator(name string, left, right bool) *operator {
	return &operator{
		notObject: 50696, unknown: 50694, params: []param{{"input", 50695}, {"chars", 0}},
		eval: func(s *scope, args []node) (bson.RawValue, error) {
			v, err := args[0].eval(s)
			if err != nil {
				return bson.RawValue{}, err
			}
			if value.Nullish(v) {
				return value.Null(), nil
			}
			if v.Type != bson.TypeString {
				return bson.RawValue{}, fail(50699, "%s requires its input to be a string, got %s (of type %s) instead.", name, show(v), value.TypeName(v.Type))
			}
			cut := whitespace()
			if args[1] != nil {
				chars, err := args[1].eval(s)
				if err != nil {
					return bson.RawValue{}, err
				}
				if value.Nullish(chars) {
					return value.Null(), nil
				}
				if chars.Type != bson.TypeString {
					return bson.RawValue{}, fail(50700, "%s requires 'chars' to be a string, got %s (of type %s) instead.", name, show(chars), value.TypeName(chars.Type))
				}
				if cut, err = codePoints(name, value.AsString(chars)); err != nil {
					return bson.RawValue{}, err
				}
			}
			return value.String(trim(value.AsString(v), cut, left, right)), nil
		},
	}
}

// whitespace is what is trimmed when nothing else is asked for.
func whitespace() []string {
	return []string{
		"\x00", " ", "\t", "\n", "\v", "\f", "\r", "\u00a0", "\u1680",
		"\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
	}
}

func codePoints(name, s string) ([]string, error) {
	var out []string
	for i := 0; i < len(s); {
		if !utf8.RuneStart(s[i]) {
			return nil, fail(50698, "Failed to parse \"chars\" argument to %s: Detected invalid UTF-8. Got continuation byte when expecting the start of a new code point.", name)
		}
		n := min(codePointLength(s[i]), 4)
		if i+n > len(s) {
			return nil, fail(50697, "Failed to parse \"chars\" argument to %s: Detected invalid UTF-8. Missing expected continuation byte at end of string.", name)
		}
		out = append(out, s[i:i+n])
		i += n
	}
	return out, nil
}

func trim(s string, cut []string, left, right bool) string {
	for again := left; again; {
		again = false
		for _, c := range cut {
			if s != "" && strings.HasPrefix(s, c) {
				s, again = s[len(c):], true
				break
			}
		}
	}
	for again := right; again; {
		again = false
		for _, c := range cut {
			if s != "" && strings.HasSuffix(s, c) {
				s, again = s[:len(s)-len(c)], true
				break
			}
		}
	}
	return s
}

func replaceOperator(name string, n int) *operator {
	return &operator{
		notObject: 51751, unknown: 51750, partial: true,
		params: []param{{"input", 51749}, {"find", 51748}, {"replacement", 51747}},
		eval: func(s *scope, args []node) (bson.RawValue, error) {
			vs, err := evalAll(s, args)
			if err != nil {
				return bson.RawValue{}, err
			}
			codes := [...]mongoerr.Code{51746, 51745, 51744}
			null := false
			for i, what := range [...]string{"input", "find", "replacement"} {
				if vs[i].Type != bson.TypeString && !value.Nullish(vs[i]) {
					return bson.RawValue{}, fail(codes[i], "%s requires that '%s' be a string, found: %s", name, what, show(vs[i]))
				}
				null = null || value.Nullish(vs[i])
			}
			if null {
				return value.Null(), nil
			}
			return value.String(replace(value.AsString(vs[0]), value.AsString(vs[1]), value.AsString(vs[2]), n)), nil
		},
	}
}

// replace puts the replacement between all bytes when there is nothing to find.
func replace(s, find, replacement string, n int) string {
	if find != "" || n == 1 {
		return strings.Replace(s, find, replacement, n)
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteString(replacement)
		b.WriteByte(s[i])
	}
	b.WriteString(replacement)
	return b.String()
}

package expr

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

const (
	toStringSpecifiers   = "dGHjLmMSwuUVYzZ"
	fromStringSpecifiers = "dGHLmMSuVYzZ"
	monthSpecifiers      = "bB" // since 7.0
)

func dateOperators() map[string]*operator {
	return map[string]*operator{
		"$year":         datePart(func(t time.Time) bson.RawValue { return number(t.Year()) }),
		"$month":        datePart(func(t time.Time) bson.RawValue { return number(int(t.Month())) }),
		"$dayOfMonth":   datePart(func(t time.Time) bson.RawValue { return number(t.Day()) }),
		"$dayOfWeek":    datePart(func(t time.Time) bson.RawValue { return number(int(t.Weekday()) + 1) }),
		"$dayOfYear":    datePart(func(t time.Time) bson.RawValue { return number(t.YearDay()) }),
		"$hour":         datePart(func(t time.Time) bson.RawValue { return number(t.Hour()) }),
		"$minute":       datePart(func(t time.Time) bson.RawValue { return number(t.Minute()) }),
		"$second":       datePart(func(t time.Time) bson.RawValue { return number(t.Second()) }),
		"$millisecond":  datePart(func(t time.Time) bson.RawValue { return number(t.Nanosecond() / 1e6) }),
		"$week":         datePart(func(t time.Time) bson.RawValue { return number(sundayWeek(t)) }),
		"$isoDayOfWeek": datePart(func(t time.Time) bson.RawValue { return number(isoWeekday(t)) }),
		"$isoWeek": datePart(func(t time.Time) bson.RawValue {
			_, week := t.ISOWeek()
			return number(week)
		}),
		"$isoWeekYear": datePart(func(t time.Time) bson.RawValue {
			year, _ := t.ISOWeek()
			return value.Int64(int64(year))
		}),
		"$dateToParts": {
			eval: dateToParts, notObject: 40524, unknown: 40520,
			params: []param{{"date", 40522}, {"timezone", 0}, {"iso8601", 0}},
		},
		"$dateToString": {
			eval: dateToString, notObject: 18629, unknown: 18534,
			params: []param{{"date", 18628}, {"format", 0}, {"timezone", 0}, {"onNull", 0}},
		},
		"$dateFromParts": {parse: parseDateFromParts, eval: dateFromParts, notObject: 40519, unknown: 40518, params: []param{
			{"year", 0},
			{"month", 0},
			{"day", 0},
			{"hour", 0},
			{"minute", 0},
			{"second", 0},
			{"millisecond", 0},
			{"isoWeekYear", 0},
			{"isoWeek", 0},
			{"isoDayOfWeek", 0},
			{"timezone", 0},
		}},
		"$dateFromString": {
			eval: dateFromString, notObject: 40540, unknown: 40541,
			params: []param{{"dateString", 40542}, {"format", 0}, {"timezone", 0}, {"onNull", 0}, {"onError", 0}},
		},
	}
}

func number(n int) bson.RawValue { return value.Int32(int32(n)) }

// datePart is an operator that takes a date, or {date, timezone}.
func datePart(part func(time.Time) bson.RawValue) *operator {
	return &operator{
		parse: parseDatePart, unknown: 40535, params: []param{{"date", 40539}, {"timezone", 0}},
		eval: func(s *scope, args []node) (bson.RawValue, error) {
			v, err := args[0].eval(s)
			if err != nil {
				return bson.RawValue{}, err
			}
			if value.Nullish(v) {
				return value.Null(), nil
			}
			ms, err := coerceDate(v)
			if err != nil {
				return bson.RawValue{}, err
			}
			z, null, err := evalZone(s, args[1], func(v bson.RawValue) error {
				return fail(40533, "a string is required for the timezone argument, but was given a %s (%s)", value.TypeName(v.Type), show(v))
			})
			if err != nil {
				return bson.RawValue{}, err
			}
			if null {
				return value.Null(), nil
			}
			return part(z.at(ms)), nil
		},
	}
}

func parseDatePart(p *parser, op *operator, arg bson.RawValue) (node, error) {
	if arg.Type == bson.TypeEmbeddedDocument && !hasOperator(arg.Value) {
		return p.named(op, arg)
	}
	if arg.Type == bson.TypeArray {
		if n := value.Len(arg); n != 1 {
			return nil, fail(40536, "%s accepts exactly one argument if given an array, but was given %d", op.name, n)
		}
		arg = value.Index(arg, 0)
	}
	n, err := p.operand(arg)
	if err != nil {
		return nil, err
	}
	return &namedCall{op, []node{n, nil}}, nil
}

// hasOperator tells whether the document's first field is an operator.
func hasOperator(doc bson.Raw) bool {
	name := firstName(doc)
	return name != "" && name[0] == '$'
}

func timezoneNotString(v bson.RawValue) error {
	return fail(40517, "timezone must evaluate to a string, found %s", value.TypeName(v.Type))
}

func dateToParts(s *scope, args []node) (bson.RawValue, error) {
	v, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	z, null, err := evalZone(s, args[1], timezoneNotString)
	if err != nil {
		return bson.RawValue{}, err
	}
	if null {
		return value.Null(), nil
	}
	iso, err := evalOr(s, args[2], value.Bool(false))
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(iso) {
		return value.Null(), nil
	}
	if iso.Type != bson.TypeBoolean {
		return bson.RawValue{}, fail(40521, "iso8601 must evaluate to a bool, found %s", value.TypeName(iso.Type))
	}
	if value.Nullish(v) {
		return value.Null(), nil
	}
	ms, err := coerceDate(v)
	if err != nil {
		return bson.RawValue{}, err
	}
	t := z.at(ms)
	o := value.NewObject(120)
	if value.AsBool(iso) {
		year, week := t.ISOWeek()
		o.Add("isoWeekYear", number(year))
		o.Add("isoWeek", number(week))
		o.Add("isoDayOfWeek", number(isoWeekday(t)))
	} else {
		o.Add("year", number(t.Year()))
		o.Add("month", number(int(t.Month())))
		o.Add("day", number(t.Day()))
	}
	o.Add("hour", number(t.Hour()))
	o.Add("minute", number(t.Minute()))
	o.Add("second", number(t.Second()))
	o.Add("millisecond", number(t.Nanosecond()/1e6))
	return o.Value(), nil
}

func dateToString(s *scope, args []node) (bson.RawValue, error) {
	v, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	format, err := evalOr(s, args[1], value.String(isoFormat))
	if err != nil {
		return bson.RawValue{}, err
	}
	if !value.Nullish(format) {
		if format.Type != bson.TypeString {
			return bson.RawValue{}, fail(18533, "$dateToString requires that 'format' be a string, found: %s with value %s", value.TypeName(format.Type), show(format))
		}
		if err := checkFormat(value.AsString(format), toStringSpecifiers+monthSpecifiers); err != nil {
			return bson.RawValue{}, err
		}
	}
	z, null, err := evalZone(s, args[2], timezoneNotString)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(v) {
		return evalOr(s, args[3], value.Null())
	}
	if null || value.Nullish(format) {
		return value.Null(), nil
	}
	ms, err := coerceDate(v)
	if err != nil {
		return bson.RawValue{}, err
	}
	text, err := formatDate(value.AsString(format), ms, z)
	if err != nil {
		return bson.RawValue{}, err
	}
	return value.String(text), nil
}

func parseDateFromParts(p *parser, op *operator, arg bson.RawValue) (node, error) {
	n, err := p.named(op, arg)
	if err != nil {
		return nil, err
	}
	a := n.(*namedCall).args
	natural, iso := a[0] != nil, a[7] != nil
	switch {
	case !natural && !iso:
		return nil, fail(40516, "$dateFromParts requires either 'year' or 'isoWeekYear' to be present")
	case natural && (iso || a[8] != nil || a[9] != nil):
		return nil, fail(40489, "$dateFromParts does not allow mixing natural dates with ISO dates")
	case iso && (a[1] != nil || a[2] != nil):
		return nil, fail(40525, "$dateFromParts does not allow mixing ISO dates with natural dates")
	}
	return n, nil
}

// A partReader evaluates the numbers of $dateFromParts and remembers the
// first error, and whether one was nullish.
type partReader struct {
	s    *scope
	args []node
	null bool
	err  error
}

func (r *partReader) read(i int, absent int64, bounded bool) int64 {
	if r.args[i] == nil || r.null || r.err != nil {
		return absent
	}
	v, err := r.args[i].eval(r.s)
	if err != nil {
		r.err = err
		return absent
	}
	if value.Nullish(v) {
		r.null = true
		return absent
	}
	name := datePartNames(i)
	n, ok := value.Int64Exact(v)
	if !ok {
		r.err = fail(40515, "'%s' must evaluate to an integer, found %s with value %s", name, value.TypeName(v.Type), show(v))
	} else if bounded && (n < -32768 || n > 32767) {
		r.err = fail(31034, "'%s' must evaluate to a value in the range [-32768, 32767]; value %d is not in range", name, n)
	}
	return n
}

func datePartNames(i int) string {
	return [...]string{"year", "month", "day", "hour", "minute", "second", "millisecond", "isoWeekYear", "isoWeek", "isoDayOfWeek"}[i]
}

func dateFromParts(s *scope, args []node) (bson.RawValue, error) {
	r := &partReader{s: s, args: args}
	hour, minute := r.read(3, 0, true), r.read(4, 0, true)
	second, ms := r.read(5, 0, false), r.read(6, 0, false)
	if r.err != nil || r.null {
		return value.Null(), r.err
	}
	z, null, err := evalZone(s, args[10], timezoneNotString)
	if err != nil || null {
		return value.Null(), err
	}
	var days int64
	if args[0] != nil {
		year, month, day := r.read(0, 1970, false), r.read(1, 1, true), r.read(2, 1, true)
		if r.err != nil || r.null {
			return value.Null(), r.err
		}
		if year < 1 || year > 9999 {
			return bson.RawValue{}, fail(40523, "'year' must evaluate to an integer in the range 1 to 9999, found %d", year)
		}
		days = civil(year, month, day)
	} else {
		year, week, day := r.read(7, 1970, false), r.read(8, 1, true), r.read(9, 1, true)
		if r.err != nil || r.null {
			return value.Null(), r.err
		}
		if year < 1 || year > 9999 {
			return bson.RawValue{}, fail(31095, "'isoWeekYear' must evaluate to an integer in the range 1 to 9999, found %d", year)
		}
		days = isoDays(year, week, day)
	}
	local := days*86400 + hour*3600 + minute*60 + second
	return value.Date(z.instant(local, ms)), nil
}

// isoDays counts the days from 1970-01-01 to a day of an ISO week.
func isoDays(year, week, day int64) int64 {
	fourth := civil(year, 1, 4) // always in week 1
	monday := fourth - floorMod(fourth+3, 7)
	return monday + (week-1)*7 + day - 1
}

func dateFromString(s *scope, args []node) (bson.RawValue, error) {
	v, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	format, err := evalOr(s, args[1], bson.RawValue{})
	if err != nil {
		return bson.RawValue{}, err
	}
	if !value.Nullish(format) {
		if format.Type != bson.TypeString {
			return bson.RawValue{}, fail(40684, "$dateFromString requires that 'format' be a string, found: %s with value %s", value.TypeName(format.Type), show(format))
		}
		if err := checkFormat(value.AsString(format), fromStringSpecifiers+monthSpecifiers); err != nil {
			return bson.RawValue{}, err
		}
	}
	z, null, err := evalZone(s, args[2], timezoneNotString)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(v) {
		return evalOr(s, args[3], value.Null())
	}
	ms, err := int64(0), error(nil)
	switch {
	case v.Type != bson.TypeString:
		err = conversion("$dateFromString requires that 'dateString' be a string, found: %s with value %s", value.TypeName(v.Type), show(v))
	case null, args[1] != nil && value.Nullish(format):
		return value.Null(), nil
	case args[1] != nil:
		ms, err = parseDateFormat(value.AsString(v), value.AsString(format), z)
	default:
		ms, err = parseDate(value.AsString(v), z)
	}
	if err == nil {
		return value.Date(ms), nil
	}
	if args[4] != nil && mongoerr.CodeOf(err) == mongoerr.ConversionFailure {
		return args[4].eval(s)
	}
	return bson.RawValue{}, err
}

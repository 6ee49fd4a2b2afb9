package expr

import (
	"math"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func dateCalculations() map[string]*operator {
	shift := []param{{"startDate", 5166402}, {"unit", 5166402}, {"amount", 5166402}, {"timezone", 0}}
	return map[string]*operator{
		"$dateAdd":      {since: V50, eval: dateShift("$dateAdd", 1), notObject: 5166400, unknown: 5166401, params: shift},
		"$dateSubtract": {since: V50, eval: dateShift("$dateSubtract", -1), notObject: 5166400, unknown: 5166401, params: shift},
		"$dateDiff": {since: V50, eval: dateDiff, notObject: 5166301, unknown: 5166302, params: []param{
			{"startDate", 5166303}, {"endDate", 5166304}, {"unit", 5166305}, {"timezone", 0}, {"startOfWeek", 0},
		}},
		"$dateTrunc": {since: V50, eval: dateTrunc, notObject: 5439007, unknown: 5439008, params: []param{
			{"date", 5439009}, {"unit", 5439010}, {"timezone", 0}, {"binSize", 0}, {"startOfWeek", 0},
		}},
	}
}

// A Unit is a unit of time: a number of milliseconds, or of months for those
// whose length varies. Days and weeks are days of the calendar.
type Unit struct {
	name             string
	ms, days, months int64
}

// UnitByName finds a unit from millisecond to year.
func UnitByName(name string) (Unit, bool) {
	for _, u := range [...]Unit{
		{"millisecond", 1, 0, 0},
		{"second", 1000, 0, 0},
		{"minute", 60_000, 0, 0},
		{"hour", 3_600_000, 0, 0},
		{"day", 0, 1, 0},
		{"week", 0, 7, 0},
		{"month", 0, 0, 1},
		{"quarter", 0, 0, 3},
		{"year", 0, 0, 12},
	} {
		if u.name == name {
			return u, true
		}
	}
	return Unit{}, false
}

// Fixed gives the unit's length in milliseconds, if it always has the same
// one in UTC; months haven't.
func (u Unit) Fixed() (ms int64, ok bool) { return u.ms + u.days*86_400_000, u.months == 0 }

func evalUnit(v bson.RawValue, name string, notString mongoerr.Code) (Unit, error) {
	if v.Type != bson.TypeString {
		return Unit{}, fail(notString, "%s requires 'unit' to be a string, but got %s", name, value.TypeName(v.Type))
	}
	u, ok := UnitByName(value.AsString(v))
	if !ok {
		return Unit{}, fail(mongoerr.FailedToParse, "unknown time unit value: %s", value.AsString(v))
	}
	return u, nil
}

// AddTo adds n units to milliseconds since 1970. Days and more are added to
// the local date, the time of day staying what it is; a day that its month
// doesn't have becomes the last one.
func (u Unit) AddTo(ms, n int64) (int64, bool) { return u.add(ms, n, utc()) }

func (u Unit) add(ms, n int64, z zone) (int64, bool) {
	if u.ms > 0 {
		d, fits := value.MulInt64(u.ms, n)
		if !fits {
			return 0, false
		}
		return value.AddInt64(ms, d)
	}
	if n > 1<<40 || n < -(1<<40) {
		return 0, false
	}
	l := z.local(ms)
	if u.days > 0 {
		l.day += u.days * n
	} else {
		month := l.year*12 + l.month - 1 + u.months*n
		l.year, l.month = floorDiv(month, 12), floorMod(month, 12)+1
		l.day = min(l.day, civil(l.year, l.month+1, 1)-civil(l.year, l.month, 1))
	}
	return z.instant(civil(l.year, l.month, l.day)*86400+l.second, l.ms), true
}

// A localTime is a date and time of day in a zone.
type localTime struct{ year, month, day, second, ms int64 }

func (z zone) local(ms int64) localTime {
	t := z.at(ms)
	return localTime{
		int64(t.Year()), int64(t.Month()), int64(t.Day()),
		int64(t.Hour()*3600 + t.Minute()*60 + t.Second()), int64(t.Nanosecond() / 1e6),
	}
}

// days counts the local days since 1970-01-01.
func (l localTime) days() int64 { return civil(l.year, l.month, l.day) }

func dateShift(name string, sign int64) evalFunc {
	return func(s *scope, args []node) (bson.RawValue, error) {
		vs, err := evalAll(s, args[:3])
		if err != nil {
			return bson.RawValue{}, err
		}
		z, null, err := evalZone(s, args[3], timezoneNotString)
		if err != nil {
			return bson.RawValue{}, err
		}
		if null || value.Nullish(vs[0]) || value.Nullish(vs[1]) || value.Nullish(vs[2]) {
			return value.Null(), nil
		}
		ms, err := coerceDate(vs[0])
		if err != nil {
			return bson.RawValue{}, fail(5166403, "%s requires startDate to be convertible to a date", name)
		}
		u, err := evalUnit(vs[1], name, 5166404)
		if err != nil {
			return bson.RawValue{}, err
		}
		n, ok := value.Int64Exact(vs[2])
		if !ok {
			return bson.RawValue{}, fail(5166405, "%s expects integer amount of time units", name)
		}
		if n == math.MinInt64 && sign < 0 {
			return bson.RawValue{}, fail(6045000, "invalid %s 'amount' parameter value: %s", name, show(vs[2]))
		}
		out, ok := u.add(ms, sign*n, z)
		if !ok {
			return bson.RawValue{}, fail(5166406, "%s overflowed", name)
		}
		return value.Date(out), nil
	}
}

// evalWeekStart reads a name of a day, whole or its first three letters; 0 is
// Sunday.
func evalWeekStart(s *scope, n node, u Unit, name string, notString, unknown mongoerr.Code) (day int64, null bool, err error) {
	if n == nil || u.days != 7 {
		return 0, false, nil
	}
	v, err := n.eval(s)
	if err != nil || value.Nullish(v) {
		return 0, value.Nullish(v), err
	}
	if v.Type != bson.TypeString {
		return 0, false, fail(notString, "%s requires 'startOfWeek' to be a string, but got %s", name, value.TypeName(v.Type))
	}
	for i, full := range [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"} {
		if text := strings.ToLower(value.AsString(v)); text == full || text == full[:3] {
			return int64(i), false, nil
		}
	}
	return 0, false, fail(unknown, "%s parameter 'startOfWeek' value cannot be recognized as a day of a week: %s", name, value.AsString(v))
}

// ordinal counts the units that have begun since some fixed time, so that the
// difference of two says how many borders lie between.
func (u Unit) ordinal(ms int64, z zone, weekStart int64) int64 {
	switch l := z.local(ms); {
	case u.months > 0:
		return floorDiv(l.year*12+l.month-1, u.months)
	case u.days == 7:
		return floorDiv(l.days()+4-weekStart, 7) // 1970-01-04 was a Sunday
	case u.days > 0:
		return l.days()
	default:
		return floorDiv(ms+z.offsetAt(floorDiv(ms, 1000))*1000, u.ms)
	}
}

func dateDiff(s *scope, args []node) (bson.RawValue, error) {
	vs, err := evalAll(s, args[:3])
	if err != nil {
		return bson.RawValue{}, err
	}
	z, null, err := evalZone(s, args[3], timezoneNotString)
	if err != nil {
		return bson.RawValue{}, err
	}
	if null || value.Nullish(vs[0]) || value.Nullish(vs[1]) || value.Nullish(vs[2]) {
		return value.Null(), nil
	}
	start, err := coerceDate(vs[0])
	if err != nil {
		return bson.RawValue{}, fail(5166307, "$dateDiff requires 'startDate' to be a date, but got %s", value.TypeName(vs[0].Type))
	}
	end, err := coerceDate(vs[1])
	if err != nil {
		return bson.RawValue{}, fail(5166307, "$dateDiff requires 'endDate' to be a date, but got %s", value.TypeName(vs[1].Type))
	}
	u, err := evalUnit(vs[2], "$dateDiff", 5166306)
	if err != nil {
		return bson.RawValue{}, err
	}
	week, null, err := evalWeekStart(s, args[4], u, "$dateDiff", 5439015, 5439016)
	if err != nil || null {
		return value.Null(), err
	}
	if u.ms > 0 && u.ms < 3_600_000 { // changes of offset don't matter to these
		z = utc()
	}
	return value.Int64(u.ordinal(end, z, week) - u.ordinal(start, z, week)), nil
}

func dateTrunc(s *scope, args []node) (bson.RawValue, error) {
	vs, err := evalAll(s, []node{args[0], args[1], args[3]})
	if err != nil {
		return bson.RawValue{}, err
	}
	z, null, err := evalZone(s, args[2], timezoneNotString)
	if err != nil {
		return bson.RawValue{}, err
	}
	if null || value.Nullish(vs[0]) || value.Nullish(vs[1]) || args[3] != nil && value.Nullish(vs[2]) {
		return value.Null(), nil
	}
	ms, err := coerceDate(vs[0])
	if err != nil {
		return bson.RawValue{}, fail(5439012, "$dateTrunc requires 'date' to be a date, but got %s", value.TypeName(vs[0].Type))
	}
	u, err := evalUnit(vs[1], "$dateTrunc", 5439013)
	if err != nil {
		return bson.RawValue{}, err
	}
	bin := int64(1)
	if args[3] != nil {
		var ok bool
		if bin, ok = value.Int64Exact(vs[2]); !ok {
			return bson.RawValue{}, fail(5439017, "$dateTrunc requires 'binSize' to be a 64-bit integer, but got value '%s' of type %s", show(vs[2]), value.TypeName(vs[2].Type))
		}
		if bin <= 0 || bin > 100_000_000_000 {
			return bson.RawValue{}, fail(5439018, "$dateTrunc requires 'binSize' to be greater than 0 and at most 100000000000, but got value %d", bin)
		}
	}
	week, null, err := evalWeekStart(s, args[4], u, "$dateTrunc", 5439015, 5439016)
	if err != nil || null {
		return value.Null(), err
	}
	return value.Date(u.truncate(ms, bin, z, week)), nil
}

// truncate gives the beginning of the bin that a date lies in. Bins are
// counted from 2000-01-01, weeks from the first one that begins then or later.
func (u Unit) truncate(ms, bin int64, z zone, weekStart int64) int64 {
	epoch := civil(2000, 1, 1)
	l := z.local(ms)
	switch {
	case u.months > 0:
		n := floorDiv(l.year*12+l.month-1-2000*12, u.months*bin) * u.months * bin
		return z.instant(civil(2000, 1+n, 1)*86400, 0)
	case u.days > 0:
		if u.days == 7 {
			epoch += floorMod(weekStart-(epoch+4), 7)
		}
		n := floorDiv(l.days()-epoch, u.days*bin) * u.days * bin
		return z.instant((epoch+n)*86400, 0)
	default:
		start := z.instant(epoch*86400, 0)
		return start + floorDiv(ms-start, u.ms*bin)*u.ms*bin
	}
}

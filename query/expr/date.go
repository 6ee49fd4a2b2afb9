package expr

// A Unit is a unit of time.
type Unit string

// The units of DateAdd, DateDiff, DateTrunc and of windows over time.
const (
	Year        Unit = "year"
	Quarter     Unit = "quarter"
	Month       Unit = "month"
	Week        Unit = "week"
	Day         Unit = "day"
	Hour        Unit = "hour"
	Minute      Unit = "minute"
	Second      Unit = "second"
	Millisecond Unit = "millisecond"
)

// Valid reports whether the server knows the unit.
func (u Unit) Valid() bool {
	switch u {
	case Year, Quarter, Month, Week, Day, Hour, Minute, Second, Millisecond:
		return true
	}
	return false
}

// datePart makes {op: date} or, with a time zone, {op: {date, timezone}}.
func datePart(op string, date any, zone []any) Expr {
	switch len(zone) {
	case 0:
		return unary(op, date)
	case 1:
		return named(op, need("date", date), need("timezone", zone[0]))
	}
	return failf("%s takes one time zone, not %d", op, len(zone))
}

// YearOf ($year) is the year of the date, in UTC or in the given time zone.
func YearOf(date any, zone ...any) Expr { return datePart("$year", date, zone) }

// MonthOf ($month) is the month, from 1 of the date, in UTC or in the given time zone.
func MonthOf(date any, zone ...any) Expr { return datePart("$month", date, zone) }

// DayOfMonth ($dayOfMonth) is the day of the month of the date, in UTC or in the given time zone.
func DayOfMonth(date any, zone ...any) Expr { return datePart("$dayOfMonth", date, zone) }

// DayOfWeek ($dayOfWeek) is the day of the week, Sunday being 1 of the date, in UTC or in the given time zone.
func DayOfWeek(date any, zone ...any) Expr { return datePart("$dayOfWeek", date, zone) }

// DayOfYear ($dayOfYear) is the day of the year of the date, in UTC or in the given time zone.
func DayOfYear(date any, zone ...any) Expr { return datePart("$dayOfYear", date, zone) }

// HourOf ($hour) is the hour of the date, in UTC or in the given time zone.
func HourOf(date any, zone ...any) Expr { return datePart("$hour", date, zone) }

// MinuteOf ($minute) is the minute of the date, in UTC or in the given time zone.
func MinuteOf(date any, zone ...any) Expr { return datePart("$minute", date, zone) }

// SecondOf ($second) is the second of the date, in UTC or in the given time zone.
func SecondOf(date any, zone ...any) Expr { return datePart("$second", date, zone) }

// MillisecondOf ($millisecond) is the millisecond of the date, in UTC or in the given time zone.
func MillisecondOf(date any, zone ...any) Expr { return datePart("$millisecond", date, zone) }

// WeekOf ($week) is the week of the year, counted from Sunday of the date, in UTC or in the given time zone.
func WeekOf(date any, zone ...any) Expr { return datePart("$week", date, zone) }

// ISODayOfWeek ($isoDayOfWeek) is the day of the week, Monday being 1 of the date, in UTC or in the given time zone.
func ISODayOfWeek(date any, zone ...any) Expr { return datePart("$isoDayOfWeek", date, zone) }

// ISOWeek ($isoWeek) is the ISO week of the date, in UTC or in the given time zone.
func ISOWeek(date any, zone ...any) Expr { return datePart("$isoWeek", date, zone) }

// ISOWeekYear ($isoWeekYear) is the year that the ISO week belongs to of the date, in UTC or in the given time zone.
func ISOWeekYear(date any, zone ...any) Expr { return datePart("$isoWeekYear", date, zone) }

// DateParts ($dateToParts) is a document with the parts of the date.
func DateParts(date any, zone ...any) Expr {
	if len(zone) > 1 {
		return failf("$dateToParts takes one time zone, not %d", len(zone))
	}
	params := []param{need("date", date)}
	if len(zone) == 1 {
		params = append(params, need("timezone", zone[0]))
	}
	return named("$dateToParts", params...)
}

// A DateOf holds the parts of a date for DateFromParts; nil means the first
// month, the first day, the time 0.
type DateOf struct{ Year, Month, Day, Hour, Minute, Second, Millisecond, Zone any }

// DateFromParts ($dateFromParts) is a date out of its parts.
func DateFromParts(d DateOf) Expr {
	return named("$dateFromParts", need("year", d.Year), opt("month", d.Month), opt("day", d.Day), opt("hour", d.Hour),
		opt("minute", d.Minute), opt("second", d.Second), opt("millisecond", d.Millisecond), opt("timezone", d.Zone))
}

// DateFromString ($dateFromString) reads a date; an empty format means ISO 8601, nil
// for the others leaves them out.
func DateFromString(text any, format string, zone, onError, onNull any) Expr {
	return named("$dateFromString", need("dateString", text), opt("format", orNil(format)), opt("timezone", zone),
		opt("onError", onError), opt("onNull", onNull))
}

// DateToString ($dateToString) writes a date by a format such as "%Y-%m-%d".
func DateToString(date any, format string, zone, onNull any) Expr {
	return named("$dateToString", need("date", date), opt("format", orNil(format)), opt("timezone", zone), opt("onNull", onNull))
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// DateAdd ($dateAdd) is the date so many units later (server 5.0).
func DateAdd(date any, unit Unit, amount any, zone ...any) Expr {
	return shifted("$dateAdd", date, unit, amount, zone)
}

// DateSubtract ($dateSubtract) is the date so many units earlier (server 5.0).
func DateSubtract(date any, unit Unit, amount any, zone ...any) Expr {
	return shifted("$dateSubtract", date, unit, amount, zone)
}

func shifted(op string, date any, unit Unit, amount any, zone []any) Expr {
	if !unit.Valid() {
		return failf("%s: %q is no unit of time", op, unit)
	}
	return zoned(op, zone, need("startDate", date), need("unit", string(unit)), need("amount", amount))
}

// DateDiff ($dateDiff) is how many boundaries of the unit lie between two dates (server 5.0).
func DateDiff(from, to any, unit Unit, zone ...any) Expr {
	if !unit.Valid() {
		return failf("$dateDiff: %q is no unit of time", unit)
	}
	return zoned("$dateDiff", zone, need("startDate", from), need("endDate", to), need("unit", string(unit)))
}

// DateTrunc ($dateTrunc) is the start of the unit that the date lies in (server 5.0).
func DateTrunc(date any, unit Unit, zone ...any) Expr {
	if !unit.Valid() {
		return failf("$dateTrunc: %q is no unit of time", unit)
	}
	return zoned("$dateTrunc", zone, need("date", date), need("unit", string(unit)))
}

func zoned(op string, zone []any, params ...param) Expr {
	switch len(zone) {
	case 0:
		return named(op, params...)
	case 1:
		return named(op, append(params, need("timezone", zone[0]))...)
	}
	return failf("%s takes one time zone, not %d", op, len(zone))
}

// StartOfDay is the midnight before the date, in UTC or in the given time zone.
// Unlike DateTrunc it works on server 4.4 as well.
func StartOfDay(date any, zone ...any) Expr {
	if len(zone) > 1 {
		return failf("StartOfDay takes one time zone, not %d", len(zone))
	}
	parts := DateOf{Year: YearOf(date, zone...), Month: MonthOf(date, zone...), Day: DayOfMonth(date, zone...)}
	if len(zone) == 1 {
		parts.Zone = zone[0]
	}
	e := DateFromParts(parts)
	return Cond(Eq(Type(date), "date"), e, nil)
}

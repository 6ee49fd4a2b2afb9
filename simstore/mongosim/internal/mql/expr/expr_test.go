package expr_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// TestMain lets the clock be that bounds backtracking; it stops by itself.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"))
}

const doc = `{"n": 7, "d": 2.5, "s": "naïve café", "a": [1, 2, 3], "o": {"x": 1, "y": [{"z": 1}, {"z": 2}, 5]},
	"t": {"$date": "2024-02-29T23:30:15.123Z"}, "nul": null, "big": {"$numberLong": "9223372036854775807"}, "dec": {"$numberDecimal": "2.50"}}`

// evaluate gives the canonical text of an expression's value, or the name of
// its error.
func evaluate(t *testing.T, e string, env *expr.Env) string {
	t.Helper()
	parsed, err := expr.Parse(mqltest.Value(t, e), env)
	if err != nil {
		return "parse " + fmt.Sprint(int(mongoerr.CodeOf(err)))
	}
	v, err := parsed.Eval(mqltest.Doc(t, doc), nil)
	if err != nil {
		return "eval " + fmt.Sprint(int(mongoerr.CodeOf(err)))
	}
	if v.Type == 0 {
		return "missing"
	}
	text := mqltest.Canonical(v)
	return strings.TrimSuffix(strings.TrimPrefix(text, `{"v":`), "}")
}

func date(text string) string {
	d, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"$date":{"$numberLong":"%d"}}`, d.UnixMilli())
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	newest := &expr.Env{Version: expr.V80}
	for _, c := range []struct{ e, want string }{
		// constants are calculated before anything else, so their errors come first
		{`{"$add": ["$nope", 1, "x"]}`, "parse 16554"},
		{`{"$add": ["$nope", "x"]}`, `null`},
		{`{"$add": ["$s", 1]}`, "eval 16554"},
		{`{"$cond": [true, 1, {"$divide": [1, 0]}]}`, "parse 16608"},
		{`{"$and": ["$s", false, {"$divide": ["$n", 0]}]}`, `false`},
		{`{"$or": [{"$divide": ["$n", 0]}, 1]}`, `true`},
		{`{"$and": []}`, `true`},
		{`{"$setIsSubset": ["$a", "x"]}`, "parse 17311"},
		{`{"$setIsSubset": ["$s", [1]]}`, "eval 17310"},
		{`{"$indexOfArray": ["x", "$n"]}`, "parse 50809"},
		{`{"$dateToString": {"date": "$t", "format": "%q"}}`, "eval 18536"},
		{`{"$dateToString": {"date": {"$toDate": 5}, "format": "%"}}`, "parse 241"},

		// numbers
		{`{"$add": ["$big", 1]}`, `{"$numberDouble":"9.223372036854776E+18"}`},
		{`{"$multiply": ["$n", {"$numberInt": "2147483647"}]}`, `{"$numberLong":"15032385529"}`},
		{`{"$subtract": ["$big", -1]}`, `{"$numberDouble":"9.223372036854776E+18"}`},
		{`{"$add": ["$dec", 0.1]}`, `{"$numberDecimal":"2.600000000000000005551115123125783"}`},
		{`{"$mod": [-7, 3]}`, `{"$numberInt":"-1"}`},
		{`{"$pow": [2, 63]}`, `{"$numberDouble":"9.223372036854776E+18"}`},
		{`{"$pow": [2, -1]}`, `{"$numberDouble":"0.5"}`},
		{`{"$pow": [0, -1]}`, "parse 28764"},
		{`{"$round": [1234.5678, -2]}`, `{"$numberDouble":"1200.0"}`},
		{`{"$round": [2.5]}`, `{"$numberDouble":"2.0"}`},
		{`{"$trunc": [-2.7]}`, `{"$numberDouble":"-2.0"}`},
		{`{"$round": [{"$numberInt": "15"}, -1]}`, `{"$numberInt":"20"}`},
		{`{"$abs": {"$numberInt": "-2147483648"}}`, `{"$numberLong":"2147483648"}`},
		{`{"$sqrt": -1}`, "parse 28714"},
		{`{"$acos": 2}`, "parse 50989"},
		{`{"$sum": [[1, 2], 3]}`, `{"$numberInt":"3"}`},
		{`{"$sum": "$a"}`, `{"$numberInt":"6"}`},
		{`{"$avg": ["$n", "$d"]}`, `{"$numberDouble":"4.75"}`},
		{`{"$max": ["$n", null, "$nope"]}`, `{"$numberInt":"7"}`},
		{`{"$stdDevSamp": [1, 3]}`, `{"$numberDouble":"1.4142135623730951"}`},

		// strings
		{`{"$strLenCP": "$s"}`, `{"$numberInt":"10"}`},
		{`{"$strLenBytes": "$s"}`, `{"$numberInt":"12"}`},
		{`{"$substrCP": ["$s", 6, 4]}`, `"café"`},
		{`{"$substrBytes": ["$s", 3, 2]}`, "eval 28656"},
		{`{"$indexOfCP": ["$s", "f"]}`, `{"$numberInt":"8"}`},
		{`{"$toUpper": "$s"}`, `"NAïVE CAFé"`},
		{`{"$toLower": "$t"}`, `"2024-02-29t23:30:15.123z"`},
		{`{"$trim": {"input": " \t x\n"}}`, `"x"`},
		{`{"$replaceAll": {"input": "abc", "find": "", "replacement": "-"}}`, `"-a-b-c-"`},
		{`{"$split": ["a-b-c", "-"]}`, `["a","b","c"]`},
		{`{"$regexFindAll": {"input": "$s", "regex": "(a)(x)?"}}`, `[{"match":"a","idx":{"$numberInt":"1"},"captures":["a",null]},{"match":"a","idx":{"$numberInt":"7"},"captures":["a",null]}]`},
		{`{"$regexFindAll": {"input": "ab", "regex": ""}}`, `[{"match":"","idx":{"$numberInt":"0"},"captures":[]},{"match":"","idx":{"$numberInt":"1"},"captures":[]}]`},
		{`{"$regexMatch": {"input": "$s", "regex": "CAF.$", "options": "i"}}`, `true`},
		{`{"$regexMatch": {"input": "$s", "regex": "("}}`, "parse 51111"},
		{`{"$regexMatch": {"input": "foobar", "regex": "foo(?=bar)"}}`, `true`},

		// arrays, objects, sets, variables
		{`"$o.y.z"`, `[{"$numberInt":"1"},{"$numberInt":"2"}]`},
		{`"$a.0"`, `[]`},
		{`"$$ROOT.o.x"`, `{"$numberInt":"1"}`},
		{`"$$nope"`, "parse 17276"},
		{`"$"`, "parse 16872"},
		{`"$a."`, "parse 40353"},
		{`"$a..b"`, "parse 15998"},
		{`"$a.$b"`, "parse 16410"},
		{`"$$REMOVE"`, "missing"},
		{`{"x": "$nope", "y": "$n"}`, `{"y":{"$numberInt":"7"}}`},
		{`["$nope"]`, `[null]`},
		{`{"$let": {"vars": {"x": 1}, "in": {"$let": {"vars": {"x": {"$add": ["$$x", 1]}}, "in": "$$x"}}}}`, `{"$numberInt":"2"}`},
		{`{"$let": {"vars": {"CURRENT": "$o"}, "in": "$x"}}`, `{"$numberInt":"1"}`},
		{`{"$let": {"vars": {"X": 1}, "in": 1}}`, "parse 16867"},
		{`{"$map": {"input": [[1, 2], [3]], "as": "i", "in": {"$map": {"input": "$$i", "as": "j", "in": {"$multiply": ["$$j", {"$size": "$$i"}]}}}}}`, `[[{"$numberInt":"2"},{"$numberInt":"4"}],[{"$numberInt":"3"}]]`},
		{`{"$reduce": {"input": "$a", "initialValue": [], "in": {"$concatArrays": [["$$this"], "$$value"]}}}`, `[{"$numberInt":"3"},{"$numberInt":"2"},{"$numberInt":"1"}]`},
		{`{"$zip": {"inputs": ["$a", ["x"]], "useLongestLength": true, "defaults": [0, "-"]}}`, `[[{"$numberInt":"1"},"x"],[{"$numberInt":"2"},"-"],[{"$numberInt":"3"},"-"]]`},
		{`{"$setUnion": [[3, 1.0], [1, 2]]}`, `[{"$numberDouble":"1.0"},{"$numberInt":"2"},{"$numberInt":"3"}]`},
		{`{"$arrayToObject": [[["a", 1], ["a", 2]]]}`, `{"a":{"$numberInt":"2"}}`},
		{`{"$slice": ["$a", -2, 1]}`, `[{"$numberInt":"2"}]`},
		{`{"$range": [10, 0, -4]}`, `[{"$numberInt":"10"},{"$numberInt":"6"},{"$numberInt":"2"}]`},
		{`{"$switch": {"branches": []}}`, "parse 40068"},
		{`{"$cond": {"if": 1, "then": 2}}`, "parse 17082"},
		{`{"$size": [1, 2]}`, "parse 16020"},
		{`{"$slice": [1]}`, "parse 28667"},
		{`{"$add": 1, "$subtract": 2}`, "parse 15983"},
		{`{"a": 1, "$add": 2}`, "parse 16410"},
		{`{"$nope": 1}`, "parse 168"},
		{`{"$function": {}}`, "parse 31264"},

		// types
		{`{"$toInt": "12"}`, `{"$numberInt":"12"}`},
		{`{"$toInt": " 12"}`, "parse 241"},
		{`{"$toInt": 2147483648}`, "parse 241"},
		{`{"$toLong": 1e300}`, "parse 241"},
		{`{"$toDouble": "-1e3"}`, `{"$numberDouble":"-1000.0"}`},
		{`{"$toDouble": "0x10"}`, "parse 241"},
		{`{"$toDecimal": "1e-7000"}`, "parse 241"},
		{`{"$toString": 1e21}`, `"1e+21"`},
		{`{"$toString": 0.1}`, `"0.1"`},
		{`{"$toString": {"$numberDecimal": "NaN"}}`, `"NaN"`},
		{`{"$toBool": "false"}`, `true`},
		{`{"$toObjectId": "zz"}`, "parse 241"},
		{`{"$convert": {"input": "x", "to": "int", "onError": "$n"}}`, `{"$numberInt":"7"}`},
		{`{"$convert": {"input": 1, "to": "nope"}}`, "parse 2"},
		{`{"$convert": {"input": 1, "to": 2.5}}`, "parse 9"},
		{`{"$type": "$nope"}`, `"missing"`},

		// dates
		{`{"$toDate": "2024-02-30"}`, "parse 241"},
		{`{"$toDate": "2024-02-29"}`, date("2024-02-29T00:00:00Z")},
		{`{"$toDate": "2024-02-29T12:30:00.5+02:00"}`, date("2024-02-29T10:30:00.5Z")},
		{`{"$toDate": "29 Feb 2024 1:05pm"}`, date("2024-02-29T13:05:00Z")},
		{`{"$toDate": "March 5, 2024"}`, date("2024-03-05T00:00:00Z")},
		{`{"$toDate": "20240229T101112"}`, date("2024-02-29T10:11:12Z")},
		{`{"$toDate": "2024W101"}`, date("2024-03-04T00:00:00Z")},
		{`{"$toDate": "tomorrow"}`, "parse 241"},
		{`{"$toDate": "12:30"}`, "parse 241"},
		{`{"$dateFromString": {"dateString": "2024-07-01T10:00:00", "timezone": "Europe/Paris"}}`, date("2024-07-01T08:00:00Z")},
		{`{"$dateFromString": {"dateString": "2024-07-01T10:00:00Z", "timezone": "Europe/Paris"}}`, "parse 241"},
		{`{"$dateFromString": {"dateString": "01/07/2024 10:00", "format": "%d/%m/%Y %H:%M"}}`, date("2024-07-01T10:00:00Z")},
		{`{"$dateFromString": {"dateString": "x", "onError": "$s"}}`, `"naïve café"`},
		{`{"$dateFromParts": {"year": 2024, "month": 14, "day": -1, "hour": 25}}`, date("2025-01-31T01:00:00Z")},
		{`{"$dateFromParts": {"isoWeekYear": 2020, "isoWeek": 53, "isoDayOfWeek": 7}}`, date("2021-01-03T00:00:00Z")},
		{`{"$dateFromParts": {"year": 2024, "month": 3, "day": 10, "hour": 2, "minute": 30, "timezone": "America/New_York"}}`, date("2024-03-10T07:30:00Z")},
		{`{"$dateFromParts": {"year": 2024, "isoWeek": 1}}`, "parse 40489"},
		{`{"$dateFromParts": {"year": 0}}`, "parse 40523"},
		{`{"$hour": {"date": "$t", "timezone": "Asia/Tokyo"}}`, `{"$numberInt":"8"}`},
		{`{"$hour": {"date": "$t", "timezone": "-05:30"}}`, `{"$numberInt":"18"}`},
		{`{"$hour": {"date": "$t", "timezone": "Mars/Base"}}`, "eval 40485"},
		{`{"$dayOfMonth": "$n"}`, "eval 16006"},
		{`{"$isoWeekYear": "$t"}`, `{"$numberLong":"2024"}`},
		{`{"$dateToString": {"date": "$t", "timezone": "Asia/Kolkata", "format": "%Y-%m-%d %H:%M %z %Z %j %U %V %u %w %%"}}`, `"2024-03-01 05:00 +0530 330 061 08 09 5 6 %"`},
		{`{"$dateToParts": {"date": "$t", "iso8601": true}}`, `{"isoWeekYear":{"$numberInt":"2024"},"isoWeek":{"$numberInt":"9"},"isoDayOfWeek":{"$numberInt":"4"},"hour":{"$numberInt":"23"},"minute":{"$numberInt":"30"},"second":{"$numberInt":"15"},"millisecond":{"$numberInt":"123"}}`},
		{`{"$add": ["$t", "$t"]}`, "eval 16612"},
		{`{"$subtract": ["$t", 123]}`, date("2024-02-29T23:30:15Z")},
	} {
		assert.Equal(t, c.want, evaluate(t, c.e, &expr.Env{}), c.e)
	}
	for _, c := range []struct{ e, want string }{
		{`{"$dateAdd": {"startDate": "$t", "unit": "year", "amount": 1}}`, date("2025-02-28T23:30:15.123Z")},
		{`{"$dateSubtract": {"startDate": "$t", "unit": "month", "amount": 1}}`, date("2024-01-29T23:30:15.123Z")},
		{`{"$dateAdd": {"startDate": {"$date": "2024-03-09T12:00:00Z"}, "unit": "day", "amount": 1, "timezone": "America/New_York"}}`, date("2024-03-10T11:00:00Z")},
		{`{"$dateDiff": {"startDate": {"$date": "2023-12-31T23:59:59Z"}, "endDate": "$t", "unit": "month"}}`, `{"$numberLong":"2"}`},
		{`{"$dateDiff": {"startDate": {"$date": "2024-02-25T00:00:00Z"}, "endDate": "$t", "unit": "week", "startOfWeek": "thu"}}`, `{"$numberLong":"1"}`},
		{`{"$dateTrunc": {"date": "$t", "unit": "hour", "binSize": 6}}`, date("2024-02-29T18:00:00Z")},
		{`{"$dateTrunc": {"date": "$t", "unit": "week", "startOfWeek": "Monday"}}`, date("2024-02-26T00:00:00Z")},
		{`{"$dateTrunc": {"date": "$t", "unit": "quarter", "timezone": "Asia/Tokyo"}}`, date("2023-12-31T15:00:00Z")},
		{`{"$dateTrunc": {"date": "$t", "unit": "eon"}}`, "eval 9"},
		{`{"$getField": "n"}`, `{"$numberInt":"7"}`},
		{`{"$getField": {"field": {"$literal": "$x"}, "input": "$o"}}`, `missing`},
		{`{"$setField": {"field": "a.b", "input": "$o", "value": 1}}`, `{"x":{"$numberInt":"1"},"y":[{"z":{"$numberInt":"1"}},{"z":{"$numberInt":"2"}},{"$numberInt":"5"}],"a.b":{"$numberInt":"1"}}`},
		{`{"$unsetField": {"field": "y", "input": "$o"}}`, `{"x":{"$numberInt":"1"}}`},
		{`{"$ifNull": ["$nope", "$nul", "$n"]}`, `{"$numberInt":"7"}`},
		{`{"$sortArray": {"input": "$a", "sortBy": -1}}`, `[{"$numberInt":"3"},{"$numberInt":"2"},{"$numberInt":"1"}]`},
		{`{"$maxN": {"input": "$a", "n": 2}}`, `[{"$numberInt":"3"},{"$numberInt":"2"}]`},
		{`{"$bitXor": [6, 3]}`, `{"$numberInt":"5"}`},
		{`{"$filter": {"input": "$a", "cond": true, "limit": 2}}`, `[{"$numberInt":"1"},{"$numberInt":"2"}]`},
		{`{"$tsSecond": {"$timestamp": {"t": 5, "i": 6}}}`, `{"$numberLong":"5"}`},
	} {
		assert.Equal(t, c.want, evaluate(t, c.e, newest), c.e)
	}
}

// TestNewerOperatorsAreUnknownToOlderServers also keeps the tables honest: an
// entry with a release must name one of those there are.
func TestNewerOperatorsAreUnknownToOlderServers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"$dateAdd", "$getField", "$sortArray", "$bitAnd", "$tsSecond", "$firstN"} {
		assert.False(t, expr.IsOperator(name, &expr.Env{}), name)
		assert.True(t, expr.IsOperator(name, &expr.Env{Version: expr.V80}), name)
		_, err := expr.Parse(mqltest.Value(t, `{"`+name+`": 1}`), &expr.Env{Version: expr.V44})
		assert.Equal(t, mongoerr.InvalidPipelineOperator, mongoerr.CodeOf(err), name)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	env := &expr.Env{
		Now: time.UnixMilli(5), Vars: mqltest.Doc(t, `{"fixed": {"x": 1}}`), Scope: []string{"first", "second"},
		ClusterTime: value.Timestamp(7, 1),
	}
	e, err := expr.Parse(mqltest.Value(t, `["$$NOW", "$$CLUSTER_TIME", "$$fixed.x", "$$first", "$$second.y"]`), env)
	require.NoError(t, err)
	v, err := e.Eval(mqltest.Doc(t, "{}"), expr.Vars{value.Int32(1), mqltest.Value(t, `{"y": 2}`)})
	require.NoError(t, err)
	assert.JSONEq(t, `{"v":[{"$date":{"$numberLong":"5"}},{"$timestamp":{"t":7,"i":1}},{"$numberInt":"1"},{"$numberInt":"1"},{"$numberInt":"2"}]}`, mqltest.Canonical(v))

	_, err = expr.Parse(mqltest.Value(t, `"$$CLUSTER_TIME"`), &expr.Env{})
	require.NoError(t, err, "only reading it fails")
}

func TestNestingIsBounded(t *testing.T) {
	t.Parallel()
	v := value.Int32(1)
	for range 1000 {
		v = value.ArrayOf(v)
	}
	_, err := expr.Parse(v, &expr.Env{})
	assert.Equal(t, mongoerr.Overflow, mongoerr.CodeOf(err))
}

func TestExpressionsAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	e, err := expr.Parse(mqltest.Value(t, `{"$map": {"input": "$a", "in": {"$add": ["$$this", "$n"]}}}`), &expr.Env{})
	require.NoError(t, err)
	d := mqltest.Doc(t, doc)
	done := make(chan string)
	for range 4 {
		go func() {
			v, _ := e.Eval(d, nil)
			done <- mqltest.Canonical(v)
		}()
	}
	for range 4 {
		assert.JSONEq(t, `{"v":[{"$numberInt":"8"},{"$numberInt":"9"},{"$numberInt":"10"}]}`, <-done)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"v": {"$add": ["$a", 1]}}`, `{"v": {"$map": {"input": "$a", "in": "$$this"}}}`, `{"v": {"$dateToString": {"date": "$t", "timezone": "$s"}}}`,
		`{"v": {"$regexFindAll": {"input": "$s", "regex": "a*"}}}`, `{"v": {"$toDate": "2024-01-01"}}`,
	} {
		var d bson.D
		if err := bson.UnmarshalExtJSON([]byte(seed), false, &d); err != nil {
			f.Fatal(err)
		}
		b, err := bson.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	env := &expr.Env{Version: expr.V80, Scope: []string{"x"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		v := value.Field(b, "v")
		e, err := expr.Parse(v, env)
		if err == nil {
			_, err = e.Eval(b, nil)
		}
		if err != nil && mongoerr.CodeOf(err) == 0 {
			t.Errorf("not a server's error: %v", err)
		}
	})
}

// TestDoublesAsText has what a MongoDB 4.4 server was seen to make of doubles.
func TestDoublesAsText(t *testing.T) {
	t.Parallel()
	for f, want := range map[float64]string{
		78.65000000000001: "78.65", 3.14159: "3.14159", 0.1234567890123456: "0.123457", 123456789012345678: "1.23457e+17",
		1e20: "1e+20", 12345678.123456789: "1.23457e+07", 1e-7: "1e-07", 99.99999999999999: "100", 2: "2",
	} {
		spec, err := bson.Marshal(bson.D{{Key: "v", Value: bson.D{{Key: "$toString", Value: f}}}})
		require.NoError(t, err)
		e, err := expr.Parse(bson.Raw(spec).Lookup("v"), &expr.Env{})
		require.NoError(t, err)
		got, err := e.Eval(nil, nil)
		require.NoError(t, err)
		assert.Equal(t, want, got.StringValue())
	}
}

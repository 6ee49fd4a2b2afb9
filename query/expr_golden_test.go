package query_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/expr"
)

type exprCase struct {
	// name starts with the name of the function.
	name string
	e    expr.Expr
	// since is the first server version that can run it; -1: it is not run.
	since int
}

// exprCases has every function of package expr, over the document with _id 1.
func exprCases() []exprCase {
	c := func(name string, e expr.Expr) exprCase { return exprCase{name: name, e: e} }
	s := func(since int, name string, e expr.Expr) exprCase { return exprCase{name, e, since} }
	f := expr.Field
	at := f("placed_at")
	total, flags, scores, tags, name := f("total"), f("flags"), f("scores"), f("tags"), f("customer.name")
	return []exprCase{
		c("Field", f("customer.name")), c("Value number", expr.Value(7)), c("Value dollar", expr.Value("$total")),
		c("Value document", expr.Value(bson.D{{Key: "$add", Value: bson.A{1, 2}}})), c("Value array", expr.Value([]any{"$total", 1})),
		c("Value null", expr.Value(nil)), c("Of", expr.Of("$x")), c("As", expr.Object(expr.As("a", total))),
		c("Root", expr.Root("customer", "name")), c("Current", expr.Current("total")), s(-1, "Now", expr.Now()), s(-1, "ClusterTime", expr.ClusterTime()),
		c("Remove", expr.Cond(true, expr.Remove(), 1)), c("Object", expr.Object(expr.As("one", 1), expr.As("total", total), expr.As("text", "$x"))),
		c("Array", expr.Array(total, 1, "$x")), c("Unchecked", expr.Unchecked(bson.D{{Key: "$abs", Value: -1}})),
		c("Var", expr.Let([]expr.NamedExpr{expr.As("t", total)}, expr.Add(expr.Var("t"), 1))), c("Let", expr.Let([]expr.NamedExpr{expr.As("c", f("customer"))}, expr.Var("c.name"))),
		c("This", expr.Map(scores, "", expr.Add(expr.This(), 1))), c("Accumulated", expr.Reduce(scores, 0, expr.Add(expr.Accumulated(), expr.This()))),

		c("Abs", expr.Abs(-3)), c("Ceil", expr.Ceil(1.5)), c("Floor", expr.Floor(1.5)), c("Exp", expr.Exp(0)), c("Ln", expr.Ln(1)), c("Log10", expr.Log10(100)), c("Sqrt", expr.Sqrt(16)),
		c("Divide", expr.Divide(total, 2)), c("Log", expr.Log(8, 2)), c("Mod", expr.Mod(total, 7)), c("Pow", expr.Pow(flags, 2)), c("Subtract", expr.Subtract(total, flags)),
		c("Subtract dates", expr.Subtract(at, at)), c("Round", expr.Round(2.5, 0)), c("Trunc", expr.Trunc(-2.57, 1)), c("Add", expr.Add(total, flags, 1)), c("Multiply", expr.Multiply(total, flags)),
		s(63, "BitAnd", expr.BitAnd(flags, 4)), s(63, "BitOr", expr.BitOr(flags, 2)), s(63, "BitXor", expr.BitXor(flags, 1)), s(63, "BitNot", expr.BitNot(flags)), s(-1, "Rand", expr.Rand()),
		c("Sin", expr.Sin(0)), c("Cos", expr.Cos(0)), c("Tan", expr.Tan(0)), c("Asin", expr.Asin(0)), c("Acos", expr.Acos(1)), c("Atan", expr.Atan(0)), c("Atan2", expr.Atan2(0, 1)),
		c("Sinh", expr.Sinh(0)), c("Cosh", expr.Cosh(0)), c("Tanh", expr.Tanh(0)), c("Asinh", expr.Asinh(0)), c("Acosh", expr.Acosh(1)), c("Atanh", expr.Atanh(0)),
		c("DegreesToRadians", expr.DegreesToRadians(0)), c("RadiansToDegrees", expr.RadiansToDegrees(0)),

		c("Eq", expr.Eq(f("status"), "paid")), c("Ne", expr.Ne(f("status"), "$paid")), c("Gt", expr.Gt(total, 100)), c("Gte", expr.Gte(total, 120)), c("Lt", expr.Lt(total, 100)),
		c("Lte", expr.Lte(total, 120)), c("Cmp", expr.Cmp(total, "text")), c("And", expr.And(true, expr.Gt(total, 1))), c("And of nothing", expr.And()), c("Or", expr.Or(false, expr.Gt(total, 1))), c("Not", expr.Not(true)),
		c("Cond", expr.Cond(expr.Gt(total, 100), "big", "small")), c("IfNull", expr.IfNull(f("nope"), "none")),
		c("Switch", expr.Switch([]expr.Case{{When: expr.Lt(total, 100), Then: "small"}, {When: expr.Lt(total, 200), Then: "middle"}}, "big")),

		c("ArrayElemAt", expr.ArrayElemAt(tags, -1)), c("ArrayToObject", expr.ArrayToObject(expr.Value([]any{[]any{"a", 1}, []any{"b", 2}}))), c("ConcatArrays", expr.ConcatArrays(tags, []string{"x"})),
		c("First", expr.First(tags)), c("Last", expr.Last(tags)), c("In", expr.In("new", tags)), c("IsArray", expr.IsArray(tags)), c("ObjectToArray", expr.ObjectToArray(f("customer"))),
		c("ReverseArray", expr.ReverseArray(tags)), c("Size", expr.Size(tags)), c("Size of data", expr.Size([]int{1, 2})), c("Slice", expr.Slice(tags, 1)), c("SliceFrom", expr.SliceFrom(tags, 1, 1)), c("SetDifference", expr.SetDifference(tags, []string{"new"})),
		c("SetEquals", expr.SetEquals(tags, []string{"new", "gift"})), c("SetIntersection", expr.SetIntersection(tags, []string{"new"})), c("SetIsSubset", expr.SetIsSubset([]string{"new"}, tags)),
		c("SetUnion", expr.Size(expr.SetUnion(tags, []string{"new", "x"}))), c("AllElementsTrue", expr.AllElementsTrue(scores)), c("AnyElementTrue", expr.AnyElementTrue([]int{0, 1})),
		c("Sum", expr.Sum(scores)), c("Sum of several", expr.Sum(total, flags)), c("Avg", expr.Avg(scores)), c("Min", expr.Min(scores)), c("Max", expr.Max(scores)),
		c("StdDevPop", expr.StdDevPop([]int{1, 3})), c("StdDevSamp", expr.StdDevSamp([]int{1, 1})), c("IndexOfArray", expr.IndexOfArray(tags, "new")), c("IndexOfArray bounds", expr.IndexOfArray(tags, "gift", 1, 2)),
		c("Range", expr.Range(0, 6, 2)), c("Filter", expr.Filter(scores, "s", expr.Gt(expr.Var("s"), 75))), c("Map", expr.Map(scores, "s", expr.Multiply(expr.Var("s"), 2))),
		c("Reduce", expr.Reduce(tags, "", expr.Concat(expr.Accumulated(), expr.This()))), c("Zip", expr.Zip(tags, scores)), c("ZipLongest", expr.ZipLongest([]any{"-", 0}, tags, []int{1, 2, 3})),
		s(52, "SortArray", expr.SortArray(scores, false)), s(52, "FirstN", expr.FirstN(scores, 1)), s(52, "LastN", expr.LastN(scores, 1)), s(52, "MinN", expr.MinN(scores, 1)), s(52, "MaxN", expr.MaxN(scores, 1)),
		s(70, "Median", expr.Median(scores)), s(70, "Percentile", expr.Percentile(scores, 0.5)),

		c("Concat", expr.Concat(f("status"), "-$-", name)), c("Split", expr.Split("a,b", ",")), c("StrLenBytes", expr.StrLenBytes("ü")), c("StrLenCP", expr.StrLenCP("ü")), c("Strcasecmp", expr.Strcasecmp("A", "a")),
		c("SubstrBytes", expr.SubstrBytes(name, 1, 2)), c("SubstrCP", expr.SubstrCP("üä", 1, 1)), c("ToLower", expr.ToLower(name)), c("ToUpper", expr.ToUpper(name)),
		c("IndexOfBytes", expr.IndexOfBytes("abc", "c")), c("IndexOfCP", expr.IndexOfCP("übc", "c", 1)), c("Trim", expr.Trim(" a ", nil)), c("Trim chars", expr.Trim("$a$", "$")), c("LTrim", expr.LTrim(" a ", nil)), c("RTrim", expr.RTrim(" a ", nil)),
		c("ReplaceOne", expr.ReplaceOne("aa", "a", "b")), c("ReplaceAll", expr.ReplaceAll("aa", "a", "b")), c("RegexMatch", expr.RegexMatch(name, "^a", "i")), c("RegexFind", expr.RegexFind(name, "d(a)", "")), c("RegexFindAll", expr.RegexFindAll("aXbX", "X", "")),

		c("ToBool", expr.ToBool(1)), c("ToDate", expr.ToDate("2024-01-02T03:04:05Z")), c("ToDecimal", expr.ToDecimal("1.5")), c("ToDouble", expr.ToDouble("1.5")), c("ToInt", expr.ToInt("7")), c("ToLong", expr.ToLong("7")),
		c("ToObjectID", expr.ToObjectID("507f1f77bcf86cd799439011")), c("ToString", expr.ToString(total)), s(80, "ToUUID", expr.ToUUID("0e3b9063-8abd-4eb3-9f9f-f4c59fd30a60")), c("Type", expr.Type(f("nope"))), c("IsNumber", expr.IsNumber(total)),
		c("BSONSize", expr.BSONSize(f("customer"))), c("BinarySize", expr.BinarySize(name)), s(51, "TSSecond", expr.TSSecond(bson.Timestamp{T: 1, I: 2})), s(51, "TSIncrement", expr.TSIncrement(bson.Timestamp{T: 1, I: 2})),
		c("Convert", expr.Convert("x", "int", "bad", "null")), c("MergeObjects", expr.MergeObjects(f("customer"), bson.D{{Key: "x", Value: 1}})),
		s(50, "GetField", expr.GetField(bson.D{{Key: "a.$b", Value: 1}}, "a.$b")), s(50, "SetField", expr.SetField(f("customer"), "$x", 1)), s(50, "UnsetField", expr.UnsetField(f("customer"), "vip")), s(-1, "Meta", expr.Meta("textScore")),

		c("YearOf", expr.YearOf(at)), c("MonthOf", expr.MonthOf(at, "Europe/Berlin")), c("DayOfMonth", expr.DayOfMonth(at)), c("DayOfWeek", expr.DayOfWeek(at)), c("DayOfYear", expr.DayOfYear(at)), c("HourOf", expr.HourOf(at, "+02:00")),
		c("MinuteOf", expr.MinuteOf(at)), c("SecondOf", expr.SecondOf(at)), c("MillisecondOf", expr.MillisecondOf(at)), c("WeekOf", expr.WeekOf(at)), c("ISODayOfWeek", expr.ISODayOfWeek(at)), c("ISOWeek", expr.ISOWeek(at)), c("ISOWeekYear", expr.ISOWeekYear(at)),
		c("DateParts", expr.DateParts(at)), c("DateParts zone", expr.DateParts(at, "+01:00")), c("DateFromParts", expr.DateFromParts(expr.DateOf{Year: 2024, Month: 2, Day: 3})), c("DateFromString", expr.DateFromString("2024-01-02", "%Y-%m-%d", nil, nil, nil)),
		c("DateToString", expr.DateToString(at, "%Y-%m-%d", "Europe/Berlin", "none")), s(50, "DateAdd", expr.DateAdd(at, expr.Day, 1)), s(50, "DateSubtract", expr.DateSubtract(at, expr.Day, 1, "+01:00")), s(50, "DateDiff", expr.DateDiff(at, at, expr.Day)), s(50, "DateTrunc", expr.DateTrunc(at, expr.Hour)),
		c("StartOfDay", expr.StartOfDay(at)), c("StartOfDay zone", expr.StartOfDay(at, "Europe/Berlin")), c("StartOfDay of nothing", expr.StartOfDay(f("nope"))),
	}
}

func TestExpressionsGolden(t *testing.T) {
	t.Parallel()
	g := openGolden(t, "expressions.tsv")
	for _, c := range exprCases() {
		v, err := c.e.Build()
		require.NoError(t, err, c.name)
		g.check(t, c.name, v)
	}
	g.finish(t, true)
}

func TestExpressionsRun(t *testing.T) {
	t.Parallel()
	db := dataset(t)
	version := serverVersion(t, db)
	g := openGolden(t, "expressions.results.tsv")
	orders := query.From[bson.Raw](db.Collection("orders"))
	for _, c := range exprCases() {
		if c.since < 0 || c.since > version {
			continue
		}
		p := query.Match(query.Eq("_id", 1)).Project(query.Projection{}.NoID().Compute("x", c.e))
		got, err := query.Aggregate[bson.Raw](orders, p).First(t.Context())
		require.NoError(t, err, c.name)
		g.check(t, c.name, got)
	}
	g.finish(t, false)
}

// TestEveryFunctionHasAGoldenCase keeps the lists complete.
func TestEveryFunctionHasAGoldenCase(t *testing.T) {
	t.Parallel()
	var covered []string
	for _, c := range exprCases() {
		covered = append(covered, strings.Fields(c.name)[0])
	}
	for _, name := range exportedFunctions(t, "expr") {
		assert.Contains(t, covered, name, "package expr")
	}
	covered = nil
	for _, c := range accumulatorCases() {
		covered = append(covered, strings.ToLower(strings.Fields(c.name)[0]))
	}
	covered = append(covered, "expmovingavgalpha", "unbounded", "here", "offset")
	for _, name := range exportedFunctions(t, "acc") {
		assert.Contains(t, covered, strings.ToLower(name), "package acc")
	}
}

func exportedFunctions(t *testing.T, dir string) (names []string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.IsExported() {
				names = append(names, fn.Name.Name)
			}
		}
	}
	require.NotEmpty(t, names)
	slices.Sort(names)
	return names
}

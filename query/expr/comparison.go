package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/internal/name"
)

// Eq ($eq) is true if x equals y.
func Eq(x, y any) Expr { return nary("$eq", x, y) }

// Ne ($ne) is true if x differs from y.
func Ne(x, y any) Expr { return nary("$ne", x, y) }

// Gt ($gt) is true if x is greater than y; values of all types compare.
func Gt(x, y any) Expr { return nary("$gt", x, y) }

// Gte ($gte) is true if x is greater than or equal to y.
func Gte(x, y any) Expr { return nary("$gte", x, y) }

// Lt ($lt) is true if x is less than y.
func Lt(x, y any) Expr { return nary("$lt", x, y) }

// Lte ($lte) is true if x is less than or equal to y.
func Lte(x, y any) Expr { return nary("$lte", x, y) }

// Cmp ($cmp) is -1, 0 or 1, as x is less than, equal to or greater than y.
func Cmp(x, y any) Expr { return nary("$cmp", x, y) }

// And ($and) is true if all arguments are true.
func And(xs ...any) Expr { return variadic("$and", 0, xs) }

// Or ($or) is true if any argument is true.
func Or(xs ...any) Expr { return variadic("$or", 0, xs) }

// Not ($not) is true if x is false, null, 0 or missing.
func Not(x any) Expr { return nary("$not", x) }

// Cond ($cond) is then if the condition is true, and otherwise if not.
func Cond(condition, then, otherwise any) Expr { return nary("$cond", condition, then, otherwise) }

// IfNull ($ifNull) is the first argument that is neither null nor missing, or else the last.
func IfNull(xs ...any) Expr { return variadic("$ifNull", 2, xs) }

// A Case is one branch of Switch.
type Case struct{ When, Then any }

// Switch ($switch) is what the first case with a true condition says. With a
// nil otherwise, the server refuses a document that no case fits.
func Switch(cases []Case, otherwise any) Expr {
	if len(cases) == 0 {
		return failf("$switch needs at least one case")
	}
	branches := make([]any, len(cases))
	for i, c := range cases {
		branches[i] = raw(bson.D{}, need("case", c.When), need("then", c.Then))
	}
	return named("$switch", need("branches", Array(branches...)), opt("default", otherwise))
}

// raw makes a document of named expressions without an operator around it.
func raw(d bson.D, params ...param) Expr {
	e := named("", params...)
	if e.err != nil {
		return e
	}
	inner := e.value.(bson.D)[0].Value.(bson.D)
	return Expr{value: append(d, inner...)}
}

// Let ($let) defines variables for the expression in.
func Let(vars []NamedExpr, in any) Expr {
	params := make([]param, len(vars))
	for i, v := range vars {
		if err := name.Variable(v.Name); err != nil {
			return failf("$let: %w", err)
		}
		params[i] = need(v.Name, v.Value)
	}
	return named("$let", need("vars", raw(bson.D{}, params...)), need("in", in))
}

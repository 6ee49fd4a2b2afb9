package query_test

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/acc"
	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/urlfilter"
)

func ExampleFilter() {
	paid := query.Eq("status", "paid")
	large := paid.And(query.Gte("total", 100))
	fmt.Println(large)
	fmt.Println(query.Or(large, query.Eq("vip", true)))
	// Output:
	// {"status":"paid","total":{"$gte":100}}
	// {"$or":[{"status":"paid","total":{"$gte":100}},{"vip":true}]}
}

// What came from outside is data, even if it looks like an operator.
func ExampleEq() {
	fromOutside := bson.M{"$ne": nil}
	fmt.Println(query.Eq("password", fromOutside))
	// Output: {"password":{"$eq":{"$ne":null}}}
}

// All mistakes come at once, and no server is asked.
func ExampleFilter_Build() {
	_, err := query.And(query.Eq("$where", "1"), query.Size("tags", -1)).Build()
	fmt.Println(err)
	// Output:
	// filter: field name "$where" has a part that starts with $
	// filter on "tags": Size is -1, it can't be negative
}

func ExampleFieldOf() {
	type Order struct {
		Status string `bson:"status"`
		Total  int64  `bson:"total"`
	}
	status := query.StringFieldOf(func(o *Order) *string { return &o.Status })
	total := query.FieldOf(func(o *Order) *int64 { return &o.Total })
	fmt.Println(query.And(status.In("paid", "sent"), total.Between(100, 200)))
	// Output: {"status":{"$in":["paid","sent"]},"total":{"$gte":100,"$lt":200}}
}

func ExampleUpdate() {
	update := query.Set("status", "sent").Inc("version", 1).Push("log", "sent")
	document, err := update.Build()
	fmt.Println(document, err)
	// Output: {"$set":{"status":"sent"},"$inc":{"version":{"$numberInt":"1"}},"$push":{"log":"sent"}} <nil>
}

func ExamplePipeline() {
	revenue := query.Match(query.Eq("status", "paid")).
		Group(
			expr.Object(expr.As("day", expr.StartOfDay(expr.Field("placed_at"))), expr.As("region", expr.Field("region"))),
			query.Acc("revenue", acc.Sum(expr.Field("total"))),
			query.Acc("orders", acc.Sum(1)),
		).
		Sort(query.Asc("_id.day"), query.Desc("revenue"))
	stages, err := revenue.Build()
	fmt.Println(len(stages), err)

	_, err = revenue.Limit(0).Build()
	fmt.Println(err)
	// Output:
	// 3 <nil>
	// pipeline: stage 4 ($limit): 0 is not positive
}

func ExampleNothing() {
	var wanted []string
	fmt.Println(query.In("_id", wanted...))
	fmt.Println(query.Or())
	// Output:
	// {"_id":{"$in":[]}}
	// {"_id":{"$in":[]}}
}

func Example_urlFilter() {
	spec := urlfilter.MustNew(urlfilter.Config{Fields: []urlfilter.Field{
		{Name: "status", Type: urlfilter.String, Enum: []string{"open", "paid"}},
		{Name: "total", Type: urlfilter.Int, Sortable: true},
	}})
	request, err := spec.ParseString("status=paid&total[gte]=100&sort=-total")
	fmt.Println(request.Filter, err)
	_, err = spec.ParseString("status=lost&total[$gt]=1")
	fmt.Println(err)
	// Output:
	// {"status":"paid","total":{"$gte":100}} <nil>
	// invalid query string: status: want one of: open, paid; total[$gt]: operator "$gt" is not allowed here; allowed: eq, ne, gt, gte, lt, lte, in, nin, exists
}

package query

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/expr"
)

// A BucketOf describes a $bucket.
type BucketOf struct {
	// By is the expression that chooses the bucket.
	By any
	// Boundaries are the lower ends of the buckets and the upper end of the last, ascending and of one type.
	Boundaries []any
	// Default is the id of the bucket for all other documents; nil: such a document is an error of the server.
	Default any
	// Output are the fields to compute; none means the count.
	Output []GroupField
}

// Bucket ($bucket) sorts documents into ranges.
func (p Pipeline) Bucket(b BucketOf) Pipeline {
	by, err := computed(b.By)
	if err != nil {
		return p.broken("$bucket", fmt.Errorf("by: %w", err))
	}
	if len(b.Boundaries) < 2 {
		return p.broken("$bucket", fmt.Errorf("it needs two boundaries at least, not %d", len(b.Boundaries)))
	}
	boundaries, err := constants(b.Boundaries)
	if err != nil {
		return p.broken("$bucket", fmt.Errorf("boundaries: %w", err))
	}
	if err := checkBoundaries(b.Boundaries, b.Default); err != nil {
		return p.broken("$bucket", err)
	}
	d := bson.D{{Key: "groupBy", Value: by}, {Key: "boundaries", Value: boundaries}}
	if b.Default != nil {
		v, err := expr.Of(b.Default).Build()
		if err != nil {
			return p.broken("$bucket", fmt.Errorf("default: %w", err))
		}
		d = append(d, bson.E{Key: "default", Value: v})
	}
	return p.output("$bucket", d, b.Output)
}

// checkBoundaries sees to it that boundaries ascend, are of one type, and have the
// default outside, as far as that can be known without the server: how texts
// compare is up to the collation.
func checkBoundaries(boundaries []any, otherwise any) error {
	values := make([]bson.RawValue, len(boundaries))
	for i, b := range boundaries {
		v, err := encoded(b)
		if err != nil {
			return fmt.Errorf("boundaries: %w", err)
		}
		values[i] = v
		if i == 0 {
			continue
		}
		if classOf(v.Type) != classOf(values[0].Type) {
			return fmt.Errorf("boundaries: they must be of one type, not %s and %s", values[0].Type, v.Type)
		}
		if order, known := compareEncoded(values[i-1], v); known && order >= 0 {
			return fmt.Errorf("boundaries: they must ascend, but %v comes before %v", boundaries[i-1], b)
		}
	}
	if _, isExpr := otherwise.(expr.Expr); otherwise == nil || isExpr {
		return nil
	}
	v, err := encoded(otherwise)
	if err != nil {
		return fmt.Errorf("default: %w", err)
	}
	low, known := compareEncoded(values[0], v)
	high, _ := compareEncoded(v, values[len(values)-1])
	if known && low <= 0 && high < 0 {
		return fmt.Errorf("default: %v lies within the boundaries", otherwise)
	}
	return nil
}

func encoded(v any) (bson.RawValue, error) {
	t, data, err := bson.MarshalValue(v)
	return bson.RawValue{Type: t, Value: data}, err
}

// compareEncoded compares numbers and times; of everything else it knows nothing.
func compareEncoded(a, b bson.RawValue) (order int, known bool) {
	if x, ok := a.DateTimeOK(); ok {
		y, ok := b.DateTimeOK()
		return cmp.Compare(x, y), ok
	}
	if x, ok := a.AsInt64OK(); ok && a.Type != bson.TypeDouble {
		if y, ok := b.AsInt64OK(); ok && b.Type != bson.TypeDouble {
			return cmp.Compare(x, y), true
		}
	}
	x, isNumber := a.AsFloat64OK()
	y, areNumbers := b.AsFloat64OK()
	// Large whole numbers may become equal as floats.
	same := a.Type == b.Type
	return cmp.Compare(x, y), isNumber && areNumbers && (same || x != y)
}

// constants makes a list of constants that the server evaluates one by one.
func constants(values []any) (bson.A, error) {
	list := make(bson.A, len(values))
	for i, value := range values {
		if _, isExpr := value.(expr.Expr); isExpr {
			return nil, errors.New("an expression can't stand here")
		}
		v, err := expr.Value(value).Build()
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}

func (p Pipeline) output(op string, d bson.D, fields []GroupField) Pipeline {
	if len(fields) == 0 {
		return p.add(op, d)
	}
	out, err := groupFields(bson.D{}, fields)
	if err != nil {
		return p.broken(op, err)
	}
	return p.add(op, append(d, bson.E{Key: "output", Value: out}))
}

// A BucketAutoOf describes a $bucketAuto.
type BucketAutoOf struct {
	// By is the expression that chooses the bucket.
	By any
	// Buckets is how many there shall be.
	Buckets int
	// Granularity rounds the boundaries to a series such as "R5" or "POWERSOF2"; empty: none.
	Granularity string
	// Output are the fields to compute; none means the count.
	Output []GroupField
}

// granularities are the series of preferred numbers that the server knows.
var granularities = [...]string{"R5", "R10", "R20", "R40", "R80", "1-2-5", "E6", "E12", "E24", "E48", "E96", "E192", "POWERSOF2"}

// BucketAuto ($bucketAuto) sorts documents into ranges of about the same size.
func (p Pipeline) BucketAuto(b BucketAutoOf) Pipeline {
	by, err := computed(b.By)
	if err != nil {
		return p.broken("$bucketAuto", fmt.Errorf("by: %w", err))
	}
	if b.Buckets <= 0 {
		return p.broken("$bucketAuto", fmt.Errorf("%d buckets", b.Buckets))
	}
	d := bson.D{{Key: "groupBy", Value: by}, {Key: "buckets", Value: b.Buckets}}
	if b.Granularity != "" {
		if !slices.Contains(granularities[:], b.Granularity) {
			return p.broken("$bucketAuto", fmt.Errorf("there is no granularity %q; there are %s", b.Granularity, strings.Join(granularities[:], ", ")))
		}
		d = append(d, bson.E{Key: "granularity", Value: b.Granularity})
	}
	return p.output("$bucketAuto", d, b.Output)
}

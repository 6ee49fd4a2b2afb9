package query

import (
	"context"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/query/expr"
)

// Total says how a page counts.
type Total uint8

const (
	// TotalExact counts all matching documents, in the same round trip.
	TotalExact Total = iota
	// TotalEstimated asks the collection's metadata if the filter is Everything, and
	// otherwise counts up to EstimateLimit.
	TotalEstimated
	// TotalNone leaves the total out: the page costs a find and no more.
	TotalNone
)

// EstimateLimit is how far TotalEstimated counts.
const EstimateLimit = 10_000

// PageRequest asks for a page by number.
type PageRequest struct {
	// Page counts from 1; 0 means 1.
	Page int
	// PageSize is how many items a page has; 0 means DefaultPageSize.
	PageSize int
	// Total says whether and how to count.
	Total Total
}

// A Page is a page by number. Marshalled as JSON it is what an HTTP handler may
// return.
type Page[T any] struct {
	// Items is never nil.
	Items []T `json:"items"`
	// Total is how many documents match; nil if it was not asked for.
	Total *int64 `json:"total,omitempty"`
	// TotalEstimated is set if Total may be off: it comes from metadata, or counting stopped at EstimateLimit.
	TotalEstimated bool `json:"total_estimated,omitempty"`
	Page           int  `json:"page"`
	PageSize       int  `json:"page_size"`
	HasNext        bool `json:"has_next"`
	HasPrev        bool `json:"has_prev"`
}

// Page returns a page by number. Without a Sort the server may order each page
// as it likes: give one that ends in a unique field. The farther the page from the start, the more
// documents the server skips, and documents inserted or deleted meanwhile
// shift the pages: for long lists Keyset is better.
func (f Find[T]) Page(ctx context.Context, r PageRequest) (Page[T], error) {
	page, err := f.page(ctx, r)
	if err != nil {
		return Page[T]{}, readError("page", f.coll.coll, err)
	}
	return page, nil
}

func (f Find[T]) page(ctx context.Context, r PageRequest) (Page[T], error) {
	if r.Page == 0 {
		r.Page = 1
	}
	if r.PageSize == 0 {
		r.PageSize = DefaultPageSize
	}
	page := Page[T]{Items: []T{}, Page: r.Page, PageSize: r.PageSize, HasPrev: r.Page > 1}
	switch {
	case r.Page < 0:
		return page, invalidf("page: Page is %d, pages count from 1", r.Page)
	case r.PageSize < 0 || r.PageSize > MaxPageSize:
		return page, invalidf("page: PageSize is %d, it must be within 1 and %d", r.PageSize, MaxPageSize)
	case int64(r.Page) > (1<<62)/int64(r.PageSize):
		return page, invalidf("page: Page %d is too far", r.Page)
	case f.spec.skip > 0 || f.spec.limit > 0:
		return page, invalidf("page: the find has a Skip or a Limit; the page sets them")
	case r.Total > TotalNone:
		return page, invalidf("page: Total is %d", r.Total)
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	f.spec.maxTime = 0
	var err error
	// Servers before 5.0 take no $unionWith in a transaction.
	if r.Total == TotalExact && mongo.SessionFromContext(ctx) == nil && f.aggregatable() {
		err = f.pageAtOnce(ctx, r, &page)
	} else {
		err = f.pageBeside(ctx, r, &page)
	}
	return page, err
}

// aggregatable reports whether the find can be said as a pipeline.
func (f Find[T]) aggregatable() bool {
	if len(f.spec.let) > 0 {
		return false
	}
	if f.filter.uses(func(s *Filter) bool {
		return s.kind == kindNear || s.kind == kindUnchecked || s.kind == kindTop && s.field == "$text"
	}) {
		return false
	}
	for _, e := range f.spec.projection.fields {
		if _, operator := e.Value.(bson.D); operator {
			return false
		}
	}
	for _, k := range f.spec.sort {
		if k.meta != "" {
			return false
		}
	}
	return true
}

// The fields that tell items and total apart in the answer of pageAtOnce.
const (
	pageItem  = "item"
	pageTotal = "total"
)

// pageAtOnce asks for items and total in one command: the items, wrapped, and after them
// one document with the total. Unlike $facet this keeps the use of
// an index for the order, and no limit on the size of a document applies to the page.
func (f Find[T]) pageAtOnce(ctx context.Context, r PageRequest, page *Page[T]) error {
	p := Match(f.filter)
	if len(f.spec.sort) > 0 {
		p = p.Sort(f.spec.sort...)
	}
	if skip := int64(r.Page-1) * int64(r.PageSize); skip > 0 {
		p = p.Skip(skip)
	}
	p = p.Limit(int64(r.PageSize) + 1)
	if len(f.spec.projection.fields) > 0 || len(f.spec.projection.errs) > 0 {
		p = p.Project(f.spec.projection)
	}
	p = p.ReplaceRoot(expr.Object(expr.As(pageItem, expr.Root()))).
		UnionWith(f.coll.coll.Name(), Match(f.filter).Count(pageTotal))

	// The other checks of the find hold here too.
	if _, err := f.build(); err != nil {
		return err
	}
	stages, err := p.Build()
	if err != nil {
		return err
	}
	cursor, err := f.openPipeline(ctx, stages, int32(r.PageSize)+3)
	if err != nil {
		return err
	}
	defer closeCursor(ctx, cursor)
	total := int64(0)
	for cursor.Next(ctx) {
		if item, ok := document(cursor.Current, pageItem); ok {
			if err := page.add(cursor, item); err != nil {
				return err
			}
			continue
		}
		total = number(cursor.Current, pageTotal)
	}
	page.Total = &total
	return cursor.Err()
}

// add decodes an item that lies inside of the cursor's document.
func (p *Page[T]) add(cursor *mongo.Cursor, item bson.Raw) error {
	if len(p.Items) == p.PageSize {
		p.HasNext = true
		return nil
	}
	p.Items = append(p.Items, *new(T))
	inner := *cursor
	inner.Current = item
	return decode(&inner, &p.Items[len(p.Items)-1])
}

func (f Find[T]) openPipeline(ctx context.Context, stages []bson.D, batchSize int32) (*mongo.Cursor, error) {
	o := options.Aggregate().SetBatchSize(batchSize)
	if f.spec.collation != nil {
		o.SetCollation(f.spec.collation)
	}
	if f.spec.hint != nil {
		o.SetHint(f.spec.hint)
	}
	if f.spec.comment != "" {
		o.SetComment(f.spec.comment)
	}
	if f.spec.allowDiskUse {
		o.SetAllowDiskUse(true)
	}
	if let, err := variables(f.spec.let); err == nil && let != nil {
		o.SetLet(let)
	}
	var cursor *mongo.Cursor
	err := f.coll.retry.read(ctx, func(ctx context.Context) (err error) {
		cursor, err = f.spec.on(f.coll.coll).Aggregate(ctx, stages, o)
		return err
	})
	return cursor, err
}

// pageBeside asks for items and total in two commands at the same time; within
// a session, which takes one command at a time, one after the other.
func (f Find[T]) pageBeside(ctx context.Context, r PageRequest, page *Page[T]) error {
	items := f.Skip(int64(r.Page-1) * int64(r.PageSize)).Limit(int64(r.PageSize) + 1)
	if items.spec.batchSize == 0 {
		items.spec.batchSize = int32(r.PageSize) + 2
	}
	var counted error
	var counting sync.WaitGroup
	count := func() { page.Total, page.TotalEstimated, counted = f.total(ctx, r.Total) }
	switch {
	case r.Total == TotalNone:
	case mongo.SessionFromContext(ctx) != nil:
		count()
	default:
		counting.Go(count)
	}
	found, err := items.all(ctx)
	counting.Wait()
	if err != nil {
		return err
	}
	if len(found) > r.PageSize {
		page.HasNext = true
		found = found[:r.PageSize]
	}
	page.Items = found
	return counted
}

func (f Find[T]) total(ctx context.Context, how Total) (*int64, bool, error) {
	f.spec.sort = nil
	switch {
	case how == TotalExact:
		n, err := f.count(ctx)
		return &n, false, err
	case f.filter.IsEverything() && mongo.SessionFromContext(ctx) == nil:
		n, err := f.EstimatedCount(ctx)
		return &n, true, err
	}
	n, err := f.Limit(EstimateLimit).count(ctx)
	return &n, n == EstimateLimit, err
}

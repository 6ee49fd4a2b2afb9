package query

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/acc"
	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/internal/name"
)

// A Facet is one column of a faceted search: how many documents there are for
// each value of a field, or for each range of values.
type Facet struct {
	// Name is the facet's name in the result.
	Name string
	// Field is the dotted path of the field.
	Field string
	// Array says that the field holds an array, whose elements are counted one by one.
	Array bool
	// Ranges, if set, are the ascending boundaries of ranges to count; each value says where a range starts and the one before ends.
	Ranges []any
	// Limit is how many values to return, the most frequent ones; 0 means 20.
	Limit int
	// Selected is what the user has chosen in this facet. It narrows the items, the
	// total and the other facets, but not this one, so that the user sees the other choices.
	Selected Filter
}

// SearchRequest asks for a faceted search.
type SearchRequest struct {
	// Page and PageSize are as in PageRequest.
	Page, PageSize int
	Facets         []Facet
}

// A FacetCount is one value of a facet. For a range, Value is where it starts; nil stands for
// documents outside of all ranges, and for null or missing values.
type FacetCount struct {
	Value any   `json:"value" bson:"_id"`
	Count int64 `json:"count" bson:"count"`
}

// A SearchPage is a page of results with the counts of its facets.
type SearchPage[T any] struct {
	Page[T]
	// Facets has an entry, never nil, for every facet asked for.
	Facets map[string][]FacetCount `json:"facets"`
}

const (
	searchItems     = "items"
	searchTotal     = "total"
	facetLimit      = 20
	outsideOfRanges = "outside of all ranges"
)

// Search returns a page of the find's documents, their total and the counts of
// the facets, in one round trip. The answer is one document: page and facets
// together are held to 16 MB.
func (f Find[T]) Search(ctx context.Context, r SearchRequest) (SearchPage[T], error) {
	page, err := f.search(ctx, r)
	if err != nil {
		return SearchPage[T]{}, readError("search", f.coll.coll, err)
	}
	return page, nil
}

func (f Find[T]) search(ctx context.Context, r SearchRequest) (page SearchPage[T], err error) {
	if r.Page == 0 {
		r.Page = 1
	}
	if r.PageSize == 0 {
		r.PageSize = DefaultPageSize
	}
	page.Page = Page[T]{Items: []T{}, Page: r.Page, PageSize: r.PageSize, HasPrev: r.Page > 1}
	page.Facets = make(map[string][]FacetCount, len(r.Facets))
	stages, err := f.searchPipeline(r)
	if err != nil {
		return page, err
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	cursor, err := f.openPipeline(ctx, stages, 2)
	if err != nil {
		return page, err
	}
	defer closeCursor(ctx, cursor)
	if !cursor.Next(ctx) {
		return page, cursor.Err()
	}
	for _, item := range documents(cursor.Current, searchItems) {
		if err := page.add(cursor, item); err != nil {
			return page, err
		}
	}
	total := int64(0)
	for _, t := range documents(cursor.Current, searchTotal) {
		total = number(t, searchTotal)
	}
	page.Total = &total
	for i, facet := range r.Facets {
		if page.Facets[facet.Name], err = facetCounts(cursor.Current, i, facet); err != nil {
			return page, err
		}
	}
	return page, nil
}

// branch is the name of a facet's pipeline: a name of our own never meets that of another branch.
func branch(i int) string { return fmt.Sprintf("facet%d", i) }

func facetCounts(doc bson.Raw, i int, facet Facet) ([]FacetCount, error) {
	counts := []FacetCount{}
	for _, d := range documents(doc, branch(i)) {
		var c FacetCount
		if err := bson.Unmarshal(d, &c); err != nil {
			return nil, fmt.Errorf("facet %q: %w", facet.Name, err)
		}
		if facet.Ranges != nil && c.Value == outsideOfRanges {
			c.Value = nil
		}
		counts = append(counts, c)
	}
	return counts, nil
}

func (f Find[T]) searchPipeline(r SearchRequest) ([]bson.D, error) {
	switch {
	case r.Page < 0:
		return nil, invalidf("search: Page is %d, pages count from 1", r.Page)
	case r.PageSize < 0 || r.PageSize > MaxPageSize:
		return nil, invalidf("search: PageSize is %d, it must be within 1 and %d", r.PageSize, MaxPageSize)
	case int64(r.Page) > (1<<62)/int64(r.PageSize):
		return nil, invalidf("search: Page %d is too far", r.Page)
	case f.spec.skip > 0 || f.spec.limit > 0:
		return nil, invalidf("search: the find has a Skip or a Limit; the page sets them")
	}
	if _, err := f.build(); err != nil {
		return nil, err
	}
	selected := make([]Filter, len(r.Facets))
	for i, facet := range r.Facets {
		if err := facet.check(r.Facets[:i]); err != nil {
			return nil, err
		}
		selected[i] = facet.Selected
	}
	chosen := And(selected...)
	branches := []Branch{
		{searchItems, f.searchItems(r, chosen)},
		{searchTotal, narrowed(chosen).Count(searchTotal)},
	}
	for i, facet := range r.Facets {
		others := make([]Filter, 0, len(selected))
		others = append(append(others, selected[:i]...), selected[i+1:]...)
		branches = append(branches, Branch{branch(i), facet.pipeline(narrowed(And(others...)))})
	}
	return Match(f.filter).Facet(branches...).Build()
}

// narrowed starts a branch, without a stage when there is nothing to narrow.
func narrowed(filter Filter) Pipeline {
	if filter.IsEverything() {
		return Pipe()
	}
	return Match(filter)
}

func (f Find[T]) searchItems(r SearchRequest, chosen Filter) Pipeline {
	p := narrowed(chosen)
	if len(f.spec.sort) > 0 {
		p = p.Sort(f.spec.sort...)
	}
	if skip := int64(r.Page-1) * int64(r.PageSize); skip > 0 {
		p = p.Skip(skip)
	}
	p = p.Limit(int64(r.PageSize) + 1)
	if len(f.spec.projection.fields) > 0 {
		p = p.Project(f.spec.projection)
	}
	return p
}

func (facet Facet) check(earlier []Facet) error {
	if facet.Name == "" {
		return invalidf("search: a facet has no name")
	}
	for _, e := range earlier {
		if e.Name == facet.Name {
			return invalidf("search: facet %q is given twice", facet.Name)
		}
	}
	if err := name.Path(facet.Field); err != nil {
		return invalidf("search: facet %q: %v", facet.Name, err)
	}
	if facet.Limit < 0 {
		return invalidf("search: facet %q: Limit is %d, it can't be negative", facet.Name, facet.Limit)
	}
	return nil
}

func (facet Facet) pipeline(p Pipeline) Pipeline {
	if facet.Array {
		p = p.Unwind(facet.Field)
	}
	if facet.Ranges != nil {
		return p.Bucket(BucketOf{
			By: expr.Field(facet.Field), Boundaries: facet.Ranges, Default: outsideOfRanges,
			Output: []GroupField{Acc("count", acc.Sum(1))},
		})
	}
	limit := facet.Limit
	if limit == 0 {
		limit = facetLimit
	}
	// Equal counts come in the order of the values, so that a page looks the same twice.
	return p.Group(expr.IfNull(expr.Field(facet.Field), nil), Acc("count", acc.Sum(1))).
		Sort(Desc("count"), Asc("_id")).
		Limit(int64(limit))
}

package readmodel

import (
	"context"
	"maps"
	"slices"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/projection"
)

// InMemory answers from the documents of a backend that has no queries, such as
// simstore's: it reads all of them each time.
func InMemory(backend projection.Backend) Models {
	return &memory{docs: backend, resolver: projection.NewResolver(backend, 0), codec: eventstore.NewBSONCodec()}
}

type memory struct {
	docs     projection.DocumentStore
	resolver *projection.Resolver
	codec    eventstore.Codec
}

func (m *memory) Orders(ctx context.Context) ([]Order, error) {
	orders, err := scan(ctx, m, Orders(), func(o *Order, key string) { o.ID = key })
	slices.SortFunc(orders, byCustomer)
	return orders, err
}

func (m *memory) Articles(ctx context.Context) ([]Article, error) {
	return scan(ctx, m, Stock(), func(a *Article, key string) { a.SKU = key })
}

func (m *memory) Revenue(ctx context.Context) ([]Revenue, error) {
	type key struct{ day, region string }
	sums := map[key]Revenue{}
	orders, err := m.Orders(ctx)
	for _, o := range orders {
		if o.PaidAt == nil || o.Status == order.CalledOff {
			continue
		}
		k := key{day: o.PaidAt.UTC().Format("2006-01-02"), region: o.Region}
		r := sums[k]
		sums[k] = Revenue{Day: k.day, Region: k.region, Orders: r.Orders + 1, Amount: r.Amount + o.Total}
	}
	revenue := slices.Collect(maps.Values(sums))
	sortRevenue(revenue)
	return revenue, err
}

// scan returns all documents of a read model's current version by their keys.
func scan[D any](ctx context.Context, m *memory, f projection.Fold[D], withKey func(*D, string)) ([]D, error) {
	model, _, err := m.resolver.Model(ctx, f.Name)
	if err != nil {
		return nil, err
	}
	found, err := m.docs.ScanDocuments(ctx, model, "", "", 0)
	if err != nil {
		return nil, err
	}
	docs := make([]D, len(found))
	for i, doc := range found {
		if err := m.codec.Unmarshal(doc.Data, &docs[i]); err != nil {
			return nil, err
		}
		withKey(&docs[i], doc.Key)
	}
	return docs, nil
}

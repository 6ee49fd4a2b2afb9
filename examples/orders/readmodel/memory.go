package readmodel

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/annals-es/annals/examples/orders/order"
)

// memory keeps the read models in maps.
type memory struct {
	mu       sync.RWMutex
	orders   map[string]Order
	articles map[string]Article
}

// InMemory returns empty read models in memory.
func InMemory() Models {
	return &memory{orders: map[string]Order{}, articles: map[string]Article{}}
}

func (m *memory) updateOrder(_ context.Context, id string, apply func(Order) Order) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orders[id] = apply(m.orders[id])
	return nil
}

func (m *memory) updateArticle(_ context.Context, sku string, apply func(Article) Article) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.articles[sku] = apply(m.articles[sku])
	return nil
}

func (m *memory) Orders(context.Context) ([]Order, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.SortedFunc(maps.Values(m.orders), byCustomer), nil
}

func (m *memory) Articles(context.Context) ([]Article, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.SortedFunc(maps.Values(m.articles), func(a, b Article) int { return cmp.Compare(a.SKU, b.SKU) }), nil
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

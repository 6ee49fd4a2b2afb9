package readmodel

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/stock"
	"github.com/annals-es/annals/projection"
)

// Models keeps the read models in memory. It is safe for concurrent use.
type Models struct {
	mu       sync.RWMutex
	orders   map[string]Order
	articles map[string]Article
}

// New returns empty read models.
func New() *Models {
	return &Models{orders: map[string]Order{}, articles: map[string]Article{}}
}

// Projections returns what keeps the models up to date.
func (m *Models) Projections() []projection.Projection {
	return []projection.Projection{
		{
			Name: "orders",
			Handlers: []projection.Handler{
				onOrder[order.Placed](m), onOrder[order.ItemAdded](m), onOrder[order.ItemRemoved](m), onOrder[order.Paid](m),
				onOrder[order.StockReserved](m), onOrder[order.Shipped](m), onOrder[order.Cancelled](m),
			},
		},
		{
			Name: "stock",
			Handlers: []projection.Handler{
				onStock[stock.Received](m), onStock[stock.Reserved](m), onStock[stock.Released](m), onStock[stock.Dispatched](m),
			},
		},
	}
}

func onOrder[E order.Event](m *Models) projection.Handler {
	return projection.On(func(_ context.Context, payload E, e eventstore.Event) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.orders[e.Stream.Key()] = m.orders[e.Stream.Key()].Apply(payload, e)
		return nil
	})
}

func onStock[E stock.Event](m *Models) projection.Handler {
	return projection.On(func(_ context.Context, payload E, e eventstore.Event) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.articles[e.Stream.Key()] = m.articles[e.Stream.Key()].Apply(payload, e)
		return nil
	})
}

// Orders returns all orders by customer, and a customer's by their ids.
func (m *Models) Orders() []Order {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.SortedFunc(maps.Values(m.orders), func(a, b Order) int {
		return cmp.Or(cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.ID, b.ID))
	})
}

// Articles returns the stock of all articles by SKU.
func (m *Models) Articles() []Article {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.SortedFunc(maps.Values(m.articles), func(a, b Article) int { return cmp.Compare(a.SKU, b.SKU) })
}

// Revenue is what a region paid on a day, less what it was given back.
type Revenue struct {
	Day    string      `json:"day"` // as 2026-03-14, UTC
	Region string      `json:"region"`
	Orders int         `json:"orders"`
	Amount order.Money `json:"amount"`
}

// Revenue returns the revenue by day and region. Orders count on the day that
// they were paid.
func (m *Models) Revenue() []Revenue {
	type key struct{ day, region string }
	sums := map[key]Revenue{}
	for _, o := range m.Orders() {
		if o.PaidAt.IsZero() || o.Status == order.CalledOff {
			continue
		}
		k := key{day: o.PaidAt.UTC().Format("2006-01-02"), region: o.Region}
		r := sums[k]
		sums[k] = Revenue{Day: k.day, Region: k.region, Orders: r.Orders + 1, Amount: r.Amount + o.Total}
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b Revenue) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Region, b.Region))
	})
}

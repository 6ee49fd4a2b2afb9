// Package api serves the shop over HTTP: commands to orders, and what the read
// models say. Errors are problem details (RFC 9457).
package api

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/readmodel"
	"github.com/annals-es/annals/examples/orders/shop"
	"github.com/annals-es/annals/mongostore/client"
)

// TokenHeader carries the token of the append that a command made. Sent with a
// request for a read model, it has the answer wait until that append is in it.
const TokenHeader = "Annals-Token"

// IdempotencyHeader carries a UUID that makes a command repeatable.
const IdempotencyHeader = "Idempotency-Key"

// maxBody bounds a request's body, and maxWait how long an answer waits for a
// token.
const (
	maxBody = 64 << 10
	maxWait = 5 * time.Second
)

//go:embed page.html
var page []byte

// New returns the handler of a shop whose read models are in MongoDB, where
// questions are asked through a client.
func New(s *shop.Shop, models *readmodel.MongoDB, c *client.Client, logger *slog.Logger) http.Handler {
	a := &api{shop: s, models: models, client: c, logger: logger, now: time.Now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.page)
	mux.HandleFunc("GET /orders", a.answer(a.ask(a.listOrders)))
	mux.HandleFunc("GET /orders/facets", a.answer(a.ask(a.facets)))
	mux.HandleFunc("GET /orders/{id}", a.answer(a.ask(a.getOrder)))
	mux.HandleFunc("GET /revenue", a.answer(a.ask(a.revenue)))
	mux.HandleFunc("GET /stock", a.answer(a.ask(a.stock)))
	mux.HandleFunc("POST /orders", a.answer(a.place))
	mux.HandleFunc("POST /orders/{id}/{command}", a.answer(a.command))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, problem{Status: http.StatusNotFound, Detail: "there is nothing at " + r.URL.Path})
	})
	return mux
}

type api struct {
	shop   *shop.Shop
	models *readmodel.MongoDB
	client *client.Client
	logger *slog.Logger
	now    func() time.Time
}

func (a *api) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'")
	_, _ = w.Write(page)
}

// A reply is what a handler answers when nothing is wrong.
type reply struct {
	status int // 200 when zero
	body   any
	token  eventstore.Token
}

// answer turns a function into a handler: it waits for the request's token,
// encodes the reply and explains errors.
func (a *api) answer(fn func(*http.Request) (reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := a.waitForToken(r); err != nil {
			a.fail(w, r, err)
			return
		}
		rep, err := fn(r)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		if rep.token != "" {
			w.Header().Set(TokenHeader, string(rep.token))
		}
		w.Header().Set("Content-Type", "application/json")
		if rep.status == 0 {
			rep.status = http.StatusOK
		}
		w.WriteHeader(rep.status)
		_ = json.NewEncoder(w).Encode(rep.body) // the asker has gone: nobody to tell
	}
}

func (a *api) waitForToken(r *http.Request) error {
	token := r.Header.Get(TokenHeader)
	if token == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	return a.client.Use(ctx, func(ctx context.Context, _ *mongo.Client) error {
		position, err := a.shop.Events.Await(ctx, eventstore.Token(token))
		if err != nil {
			return err
		}
		return a.shop.WaitUntil(ctx, position)
	})
}

// ask has a question asked while the client has room for it, and once more when
// its credentials have just been replaced.
func (a *api) ask(fn func(*http.Request) (reply, error)) func(*http.Request) (reply, error) {
	return func(r *http.Request) (rep reply, err error) {
		err = a.client.Use(r.Context(), func(ctx context.Context, _ *mongo.Client) error {
			rep, err = fn(r.WithContext(ctx))
			return err
		})
		return rep, err
	}
}

func (a *api) listOrders(r *http.Request) (reply, error) {
	p, err := a.models.Page(r.Context(), r.URL.Query())
	return reply{body: p}, err
}

func (a *api) facets(r *http.Request) (reply, error) {
	p, err := a.models.Facets(r.Context(), r.URL.Query())
	return reply{body: p}, err
}

func (a *api) getOrder(r *http.Request) (reply, error) {
	o, err := a.models.Order(r.Context(), r.PathValue("id"))
	return reply{body: o}, err
}

func (a *api) revenue(r *http.Request) (reply, error) {
	revenue, err := a.models.Revenue(r.Context())
	return reply{body: list[readmodel.Revenue]{Items: revenue}}, err
}

func (a *api) stock(r *http.Request) (reply, error) {
	articles, err := a.models.Articles(r.Context())
	return reply{body: list[readmodel.Article]{Items: articles}}, err
}

// A list is an object and not an array, so that fields can be added.
type list[T any] struct {
	Items []T `json:"items"`
}

func (l list[T]) MarshalJSON() ([]byte, error) {
	if l.Items == nil {
		l.Items = []T{}
	}
	type plain list[T]
	return json.Marshal(plain(l))
}

func (a *api) place(r *http.Request) (reply, error) {
	var body struct {
		ID       string `json:"id"`
		Customer string `json:"customer"`
		Region   string `json:"region"`
	}
	if err := decode(r, &body); err != nil {
		return reply{}, err
	}
	if body.ID == "" {
		body.ID = eventstore.NewEventID().String()
	}
	rep, err := a.run(r, body.ID, order.Place{Customer: body.Customer, Region: body.Region, At: a.now()})
	rep.status = http.StatusCreated
	return rep, err
}

func (a *api) command(r *http.Request) (reply, error) {
	c, err := a.decodeCommand(r)
	if err != nil {
		return reply{}, err
	}
	return a.run(r, r.PathValue("id"), c)
}

func (a *api) decodeCommand(r *http.Request) (order.Command, error) {
	var body struct {
		SKU      string      `json:"sku"`
		Quantity int         `json:"quantity"`
		Price    order.Money `json:"price"`
		Amount   order.Money `json:"amount"`
		Tracking string      `json:"tracking"`
		Reason   string      `json:"reason"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	switch name := r.PathValue("command"); name {
	case "add-item":
		return order.AddItem{SKU: body.SKU, Quantity: body.Quantity, Price: body.Price}, nil
	case "remove-item":
		return order.RemoveItem{SKU: body.SKU, Quantity: body.Quantity}, nil
	case "pay":
		return order.Pay{Amount: body.Amount, At: a.now()}, nil
	case "ship":
		return order.Ship{Tracking: body.Tracking, At: a.now()}, nil
	case "cancel":
		return order.Cancel{Reason: body.Reason, At: a.now()}, nil
	default:
		return nil, problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("command %q is none of add-item, remove-item, pay, ship, cancel", name)}
	}
}

// run runs a command, once for each idempotency key.
func (a *api) run(r *http.Request, key string, c order.Command) (reply, error) {
	ctx := r.Context()
	if text := r.Header.Get(IdempotencyHeader); text != "" {
		var id aggregate.CommandID
		if err := id.UnmarshalText([]byte(text)); err != nil || id == (aggregate.CommandID{}) {
			return reply{}, problem{Status: http.StatusBadRequest, Detail: IdempotencyHeader + " must be a UUID"}
		}
		ctx = aggregate.WithCommandID(ctx, id)
	}
	result, err := a.shop.Orders.Run(ctx, key, c)
	if err != nil {
		return reply{}, err
	}
	return reply{token: result.Token, body: struct {
		ID        string             `json:"id"`
		Version   eventstore.Version `json:"version"`
		Status    order.Status       `json:"status"`
		Total     order.Money        `json:"total"`
		Duplicate bool               `json:"duplicate"`
		Token     eventstore.Token   `json:"token"`
	}{key, result.Version, result.State.Status, result.State.Total(), result.Duplicate, result.Token}}, nil
}

func decode(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body has more than %d bytes", maxBody)}
		}
		return problem{Status: http.StatusBadRequest, Detail: "the body is not what the command takes: " + err.Error()}
	}
	return nil
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/urlfilter"
)

// A problem is what an error answer says (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

func (p problem) Error() string { return p.Detail }

func writeProblem(w http.ResponseWriter, p problem) {
	p.Title = http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the asker has gone: nobody to tell
}

// rejections are the reasons of the domain, which the asker can do something
// about.
func rejections() []error {
	return []error{
		order.ErrNotPlaced, order.ErrAlreadyPlaced, order.ErrClosed, order.ErrEmpty, order.ErrNotInOrder,
		order.ErrWrongAmount, order.ErrNotReady, order.ErrShipped, order.ErrIncomplete,
	}
}

// fail explains an error to the asker. What is nobody's business but ours is
// logged and not told.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*urlfilter.Error](err); ok {
		e.ServeHTTP(w, r)
		return
	}
	p := a.explain(err)
	if p.Status >= http.StatusInternalServerError {
		a.logger.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
	}
	writeProblem(w, p)
}

func (a *api) explain(err error) problem {
	if p, ok := errors.AsType[problem](err); ok {
		return p
	}
	for _, rejection := range rejections() {
		if !errors.Is(err, rejection) {
			continue
		}
		switch {
		case errors.Is(rejection, order.ErrNotPlaced):
			return problem{Status: http.StatusNotFound, Detail: err.Error()}
		case errors.Is(rejection, order.ErrIncomplete):
			return problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
		}
		return problem{Status: http.StatusConflict, Detail: err.Error()}
	}
	switch {
	case errors.Is(err, query.ErrNotFound):
		return problem{Status: http.StatusNotFound, Detail: "there is no such order, or not yet"}
	case errors.Is(err, query.ErrCursor), errors.Is(err, eventstore.ErrInvalid):
		return problem{Status: http.StatusBadRequest, Detail: err.Error()}
	case errors.Is(err, eventstore.ErrConflict):
		return problem{Status: http.StatusConflict, Detail: "the order was changed by others at the same time; try again"}
	case errors.Is(err, context.DeadlineExceeded):
		return problem{Status: http.StatusGatewayTimeout, Detail: "the answer is not there yet; try again"}
	case errors.Is(err, projection.ErrNotBuilt):
		return problem{Status: http.StatusServiceUnavailable, Detail: "what you ask for is being prepared; try again"}
	case errors.Is(err, client.ErrPoolExhausted):
		return problem{Status: http.StatusServiceUnavailable, Detail: "too much is being asked at the same time; try again"}
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, eventstore.ErrOutcomeUnknown), errors.Is(err, mongostore.ErrConnection):
		return problem{Status: http.StatusServiceUnavailable, Detail: "the store cannot be reached; try again with the same " + IdempotencyHeader}
	}
	return problem{Status: http.StatusInternalServerError, Detail: "something went wrong here"}
}

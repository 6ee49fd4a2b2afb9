package refusal

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// A Stranded is the error of a transaction whose credentials were refused on the
// way: this client cannot abort it, and it would keep its locks until the server's
// limit of a minute. A client with new credentials of the same user can; see [Free].
type Stranded struct {
	Err     error
	Session bson.Raw
}

func (e *Stranded) Error() string { return e.Err.Error() }

// Unwrap returns what has gone wrong.
func (e *Stranded) Unwrap() error { return e.Err }

// IsStranded reports whether an error has left a transaction behind.
func IsStranded(err error) bool { return errors.As(err, new(*Stranded)) }

// freeTimeout bounds how long Free takes.
const freeTimeout = 5 * time.Second

// Free has a client end the transaction that an error has left behind, if any.
func Free(ctx context.Context, client *mongo.Client, err error) error {
	e, ok := errors.AsType[*Stranded](err)
	if !ok {
		return nil
	}
	// Outside the session that the context may carry, which is another client's.
	ctx, cancel := context.WithTimeout(mongo.NewSessionContext(ctx, nil), freeTimeout)
	defer cancel()
	return client.Database("admin").RunCommand(ctx, bson.D{{Key: "killSessions", Value: bson.A{e.Session}}}).Err()
}

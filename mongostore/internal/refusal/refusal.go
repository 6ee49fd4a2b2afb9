// Package refusal tells whether a server has refused the credentials.
package refusal

import (
	"errors"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/auth"
)

// Codes of the server.
const (
	authenticationFailed     = 18
	reauthenticationRequired = 391
)

// Is reports whether an operation failed because the server did not accept the
// credentials, so that nothing was done: when a connection was made for it or for
// another operation, whereupon the driver gives all connections up, or because the
// user's rights have ended on one.
func Is(err error) bool {
	if err == nil {
		return false
	}
	if errors.As(err, new(*auth.Error)) {
		return true
	}
	if e, ok := errors.AsType[mongo.ServerError](err); ok {
		return e.HasErrorCode(authenticationFailed) || e.HasErrorCode(reauthenticationRequired)
	}
	if pool := driver.RetryablePoolError(nil); errors.As(err, &pool) && pool.Retryable() {
		// What the pool was cleared for is in the text alone.
		return strings.Contains(err.Error(), "auth error: ")
	}
	return false
}

package mongostore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/annals-es/annals/eventstore"
)

func command(code int32, labels ...string) error {
	return mongo.CommandError{Code: code, Message: "m", Labels: labels}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	duplicate := mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 11000}}}
	for _, c := range []struct {
		err       error
		kind      Kind
		family    Kind
		retryable bool
		nothing   bool
	}{
		{topology.ConnectionError{Wrapped: io.EOF}, ErrNetwork, ErrConnection, true, false},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, ErrNetwork, ErrConnection, true, false},
		{command(0, driver.NetworkError), ErrNetwork, ErrConnection, true, false},
		{topology.ServerSelectionError{Wrapped: errors.New("none")}, ErrServerSelection, ErrConnection, true, true},
		{topology.WaitQueueTimeoutError{}, ErrPoolExhausted, ErrConnection, true, true},
		{&auth.Error{}, ErrAuthentication, ErrConnection, false, true},
		{topology.ConnectionError{Wrapped: &auth.Error{}}, ErrAuthentication, ErrConnection, false, true},
		{topology.ConnectionError{Wrapped: x509.UnknownAuthorityError{}}, ErrTLS, ErrConnection, false, true},
		{&tls.CertificateVerificationError{Err: errors.New("x")}, ErrTLS, ErrConnection, false, true},
		{mongo.ErrClientDisconnected, ErrDisconnected, ErrConnection, false, true},
		{command(10107), ErrNotPrimary, ErrConnection, true, false},
		{command(11602), ErrNotPrimary, ErrConnection, true, false},
		{command(18), ErrAuthentication, ErrConnection, false, true},
		{command(13), ErrUnauthorized, ErrCommand, false, true},
		{command(50), ErrTimeout, ErrCommand, true, false},
		{context.DeadlineExceeded, ErrTimeout, ErrCommand, false, false},
		{context.Canceled, ErrCanceled, ErrCommand, false, false},
		{command(43), ErrCursor, ErrCommand, true, false},
		{command(286), ErrHistoryLost, ErrCommand, false, false},
		{command(280), ErrHistoryLost, ErrCommand, false, false},
		{command(260), ErrHistoryLost, ErrCommand, false, false},
		{duplicate, ErrDuplicateKey, ErrCommand, false, true},
		{mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 1}}}, ErrWrite, ErrCommand, false, true},
		{mongo.WriteException{WriteConcernError: &mongo.WriteConcernError{Code: 64}}, ErrWriteConcern, ErrCommand, true, false},
		{mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{{WriteError: mongo.WriteError{Code: 1}}}}, ErrBulkWrite, ErrCommand, false, false},
		{command(1), ErrQuery, ErrCommand, false, false},
		{command(112, driver.TransientTransactionError), ErrTransient, ErrTransaction, true, true},
		{command(91, driver.UnknownTransactionCommitResult), ErrUnknownCommit, ErrTransaction, true, false},
		{command(251), ErrAborted, ErrTransaction, false, true},
		{command(10334), ErrDocumentTooLarge, ErrValidation, false, true},
		{driver.ErrDocumentTooLarge, ErrDocumentTooLarge, ErrValidation, false, true},
		{command(121), ErrInvalidDocument, ErrValidation, false, true},
		{command(20), ErrInvalidOperation, ErrValidation, false, true},
		{mongo.ErrNilDocument, ErrInvalidOperation, ErrValidation, false, true},
		{mongo.MarshalError{Err: errors.New("x")}, ErrSerialize, ErrBSON, false, true},
		{malformed("x"), ErrDeserialize, ErrBSON, false, true},
		{bson.ValueEncoderError{}, ErrInvalidType, ErrBSON, false, true},
	} {
		t.Run(fmt.Sprintf("%s of %T", c.kind, c.err), func(t *testing.T) {
			t.Parallel()
			err := Classify("try", fmt.Errorf("wrapped: %w", c.err))
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.kind, e.Kind)
			require.ErrorIs(t, err, c.kind)
			require.ErrorIs(t, err, c.family)
			require.Equal(t, c.retryable, e.Retryable, "retryable")
			require.Equal(t, c.retryable, errors.Is(err, eventstore.ErrUnavailable))
			require.Equal(t, c.nothing, e.Outcome == WrittenNothing, "nothing written")
			for _, other := range []Kind{ErrConnection, ErrCommand, ErrTransaction, ErrValidation, ErrBSON} {
				require.Equal(t, other == c.family, errors.Is(err, other), other)
			}
		})
	}
	require.NoError(t, Classify("nothing", nil))
}

// What the driver returns from a server that is not there.
func TestUnreachableServer(t *testing.T) {
	t.Parallel()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:1/").SetServerSelectionTimeout(50 * time.Millisecond))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Disconnect(context.Background())) }()
	_, err = Open(testContext(t), client, Config{Database: "d"})
	require.ErrorIs(t, err, ErrConnection)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
}

func TestRetryableAppendErrors(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	s := srv.open(t, func(c *Config) { c.WriteTimeout = 300 * time.Millisecond })
	srv.sim.StepDown(-1)
	_, err := eventstore.Append(testContext(t), s, "a-1", eventstore.NoStream, event(1))
	require.Error(t, err)
	require.True(t, errors.Is(err, eventstore.ErrNotWritten) || errors.Is(err, eventstore.ErrOutcomeUnknown), err)
	require.True(t, eventstore.Retryable(err), err)
	srv.sim.Elect()
	require.Eventually(t, func() bool {
		_, err := eventstore.Append(testContext(t), s, "a-1", eventstore.Any, event(2))
		return err == nil
	}, time.Minute, 10*time.Millisecond)
}

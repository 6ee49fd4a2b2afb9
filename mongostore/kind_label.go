package mongostore

// Label returns a stable identifier of the kind in snake case, for labels of
// metrics: "network", "duplicate_key".
func (k Kind) Label() string {
	if label, ok := kindLabels()[k]; ok {
		return label
	}
	return "unclassified"
}

func kindLabels() map[Kind]string {
	return map[Kind]string{
		ErrConnection: "connection", ErrCommand: "command", ErrTransaction: "transaction",
		ErrValidation: "validation", ErrBSON: "bson",
		ErrNetwork: "network", ErrNotPrimary: "not_primary", ErrAuthentication: "authentication",
		ErrTLS: "tls", ErrPoolExhausted: "pool_exhausted", ErrServerSelection: "server_selection",
		ErrDisconnected: "disconnected",
		ErrWrite:        "write", ErrDuplicateKey: "duplicate_key", ErrBulkWrite: "bulk_write",
		ErrWriteConcern: "write_concern", ErrQuery: "query", ErrUnauthorized: "unauthorized",
		ErrTimeout: "timeout", ErrCanceled: "canceled", ErrCursor: "cursor", ErrHistoryLost: "history_lost",
		ErrTransient: "transient_transaction", ErrUnknownCommit: "unknown_commit", ErrAborted: "aborted_transaction",
		ErrDocumentTooLarge: "too_large", ErrInvalidDocument: "invalid_document", ErrInvalidOperation: "invalid_operation",
		ErrSerialize: "serialize", ErrDeserialize: "deserialize", ErrInvalidType: "invalid_type",
	}
}

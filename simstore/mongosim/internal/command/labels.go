package command

import (
	"slices"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// The server's categories of errors, as far as labels depend on them.

func isRetriable(c mongoerr.Code) bool {
	switch c {
	case mongoerr.HostUnreachable, mongoerr.HostNotFound, mongoerr.NetworkTimeout, mongoerr.ShutdownInProgress,
		mongoerr.PrimarySteppedDown, mongoerr.ExceededTimeLimit, mongoerr.SocketException,
		mongoerr.NotWritablePrimary, mongoerr.InterruptedAtShutdown, mongoerr.InterruptedDueToReplStateChange,
		mongoerr.NotPrimaryNoSecondaryOk, mongoerr.NotPrimaryOrSecondary:
		return true
	}
	return false
}

func isNotPrimary(c mongoerr.Code) bool {
	switch c {
	case mongoerr.PrimarySteppedDown, mongoerr.NotWritablePrimary, mongoerr.InterruptedDueToReplStateChange,
		mongoerr.NotPrimaryNoSecondaryOk, mongoerr.NotPrimaryOrSecondary:
		return true
	}
	return false
}

func isSnapshotError(c mongoerr.Code) bool {
	switch c {
	case mongoerr.SnapshotTooOld, mongoerr.SnapshotUnavailable, mongoerr.StaleChunkHistory, mongoerr.MigrationConflict:
		return true
	}
	return false
}

func isNeedRetargetting(c mongoerr.Code) bool {
	switch c {
	case mongoerr.StaleShardVersion, mongoerr.StaleEpoch, mongoerr.StaleConfig:
		return true
	}
	return false
}

func isTransient(c mongoerr.Code, hasWriteConcernError, endsTransaction bool) bool {
	switch {
	case c == mongoerr.WriteConflict, c == mongoerr.LockTimeout, c == mongoerr.PreparedTransactionInProgress,
		isSnapshotError(c), isNeedRetargetting(c):
		return true
	case endsTransaction:
		// safe to start again only if what it wrote cannot come back
		return c == mongoerr.NoSuchTransaction && !hasWriteConcernError
	}
	return isRetriable(c) || c == mongoerr.NoSuchTransaction
}

// errorLabels are the labels that the server adds to a reply: code and wcCode are the
// codes of the command's failure and of its write concern's, 0 for none.
func (r *request) errorLabels(code, wcCode mongoerr.Code) []string {
	if r.labels != nil { // a fail point's
		return r.labels
	}
	var labels []string
	inTxn := r.session.autocommit
	ends := r.cmd != nil && r.cmd.endsTransaction
	switch {
	case code != 0 && inTxn && isTransient(code, wcCode != 0, ends):
		labels = append(labels, mongoerr.LabelTransientTransaction)
	case r.session.hasTxnNumber && (!inTxn || ends) && (isRetriable(code) || isRetriable(wcCode)):
		labels = append(labels, mongoerr.LabelRetryableWrite)
	case r.changeStream && code != 0 && wcCode == 0 && isResumable(code):
		labels = append(labels, mongoerr.LabelResumableChangeStream)
	}
	if code == mongoerr.ChangeStreamFatalError || code == mongoerr.ChangeStreamHistoryLost {
		labels = append(labels, mongoerr.LabelNonResumable)
	}
	return labels
}

func isResumable(c mongoerr.Code) bool {
	return isRetriable(c) || isNeedRetargetting(c) ||
		c == mongoerr.RetryChangeStream || c == mongoerr.FailedToSatisfyReadPreference
}

// withLabels joins the labels an error brings along with those of its code.
func withLabels(labels, own []string) []string {
	for _, l := range own {
		if !slices.Contains(labels, l) {
			labels = append(labels, l)
		}
	}
	return labels
}

// Package session keeps logical sessions: which transaction number a session is
// at, whether that number stands for a retryable write or for a transaction,
// which statements of a retryable write have been applied, and how long a
// session and its transaction may live.
//
// A session serves one operation at a time: [Registry.Checkout] waits for the
// one before. Ending a transaction from outside (its lifetime, killSessions, a
// stepdown) needs no checkout: it aborts the storage transaction, and the
// operation that is running in it fails by itself.
package session

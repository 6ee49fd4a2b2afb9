// Package snapshot keeps the state that a stream's events fold to, so that
// loading an aggregate does not read its whole history.
//
// A snapshot is a cache and never the truth: losing all of them costs time and
// nothing else. It is tied to the version of the state's schema; one taken under
// another version is ignored, not misread.
//
// The package holds the contract ([Store]) and the policies that say when to take
// a snapshot. Stores are in simstore and mongostore.
package snapshot

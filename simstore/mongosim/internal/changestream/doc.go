// Package changestream turns the oplog into change stream events: for a
// collection, a database or the whole server, with resume tokens in the
// server's format, invalidation, post-image lookup and a user's pipeline on
// top.
//
// A Stream belongs to one cursor and is used by one goroutine at a time.
package changestream

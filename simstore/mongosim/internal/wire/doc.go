// Package wire frames MongoDB's wire protocol: it reads requests and writes
// replies, and knows nothing of what they ask.
//
// It understands OP_MSG with document sequences, checksums and the
// moreToCome and exhaustAllowed flags, OP_QUERY (what a driver may send before
// it knows the server), and OP_COMPRESSED over either with snappy, zlib and zstd.
//
// Input is untrusted. A message is at most [MaxMessageSize] bytes, memory grows
// with the bytes that arrive rather than with the length that a header claims,
// decompression stops at the size that was declared, every document is checked
// (its lengths, its terminators and its depth) before anyone sees it. What
// remains wrong is reported in one of two ways: a [*RequestError] can still be
// answered, since the request's frame is intact; any other error means that the
// stream is of no more use and the connection is to be closed.
package wire

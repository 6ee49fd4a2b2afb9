// Package readmodel keeps the read models of projections in MongoDB, with
// everything that the workers of package projection need besides: checkpoints,
// dead letters, and what workers and operators tell each other.
//
// A [Backend] applies each [projection.Commit] as one transaction: the documents,
// the dead letters and the checkpoint are written together or not at all. The
// checkpoint's position, revision and fencing token are the filter of its update,
// so a commit that was overtaken, made before, or comes from a worker that has
// lost its lease writes nothing. A commit whose outcome is lost on the way is
// repeated with the same mark, which shows whether it had taken effect: a caller
// learns of an unknown outcome only when its context or [Config.Timeout] ends
// meanwhile.
//
// A document's fields are at the root of its MongoDB document and its key is _id,
// so read models are ordinary collections, to be asked through package query. The
// documents of a version of a projection are in a collection of their own, see
// [projection.ModelName].
//
// What the package is not: a cache, or an event store. It sees events only in
// dead letters and in inline projections, see [Inline].
package readmodel

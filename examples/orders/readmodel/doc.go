// Package readmodel is what the shop shows: its orders, the revenue of each day
// and region, and the stock.
//
// How events change a document is a pure function ([Order.Apply],
// [Article.Apply]). [Orders] and [Stock] have workers of package projection keep
// the documents, each event counting exactly once; [Models] answers questions about
// them.
package readmodel

// Package readmodel is what the shop shows: the orders of each customer, the
// revenue of each day and region, and the stock.
//
// How events change a document is a pure function ([Order.Apply],
// [Article.Apply]); [Models] keeps the documents in memory.
package readmodel

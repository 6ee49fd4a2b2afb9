package expr

import "go.mongodb.org/mongo-driver/v2/bson"

// MergeObjects ($mergeObjects) is one document out of several; later fields win.
func MergeObjects(xs ...any) Expr { return variadic("$mergeObjects", 1, xs) }

// GetField ($getField) is a field of the document by its exact name, which may
// hold dots and dollar signs (server 5.0).
func GetField(document any, field string) Expr {
	return named("$getField", need("field", Value(field)), need("input", document))
}

// SetField ($setField) is the document with the field set, by its exact name
// (server 5.0). Remove() as the value leaves the field out.
func SetField(document any, field string, value any) Expr {
	return named("$setField", need("field", Value(field)), need("input", document), need("value", value))
}

// UnsetField ($unsetField) is the document without the field, by its exact name (server 5.0).
func UnsetField(document any, field string) Expr {
	return named("$unsetField", need("field", Value(field)), need("input", document))
}

// Meta ($meta) is something that the server knows of the document besides its
// content: "textScore", "indexKey", "searchScore" and others.
func Meta(keyword string) Expr {
	for _, c := range keyword {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return failf("$meta: %q is no keyword", keyword)
		}
	}
	if keyword == "" {
		return failf("$meta needs a keyword")
	}
	return Expr{value: bson.D{{Key: "$meta", Value: keyword}}}
}

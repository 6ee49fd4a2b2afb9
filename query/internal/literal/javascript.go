package literal

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// RefuseJavaScript returns an error if the value, as the server will see it, has
// an operator that runs code there. It looks at the encoded value: a struct tag
// or a custom encoding hides nothing.
func RefuseJavaScript(v any) error {
	t, data, err := bson.MarshalValue(v)
	if err != nil {
		return err
	}
	if op := javaScriptIn(bson.RawValue{Type: t, Value: data}); op != "" {
		return fmt.Errorf("%s runs JavaScript on the server, which is not offered", op)
	}
	return nil
}

func javaScriptIn(v bson.RawValue) string {
	var elements []bson.RawElement
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		doc, _ := v.DocumentOK()
		elements, _ = doc.Elements()
	case bson.TypeArray:
		array, _ := v.ArrayOK()
		elements, _ = bson.Raw(array).Elements()
	}
	for _, e := range elements {
		switch key := e.Key(); key {
		case "$where", "$function", "$accumulator":
			return key
		}
		if op := javaScriptIn(e.Value()); op != "" {
			return op
		}
	}
	return ""
}

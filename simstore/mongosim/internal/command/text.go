package command

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// text renders a document as the server's messages do.
func text(doc bson.Raw) string { return storage.ShellText(doc) }

// shortText renders a value as the server's messages do.
func shortText(v bson.RawValue) string {
	doc := newReply()
	doc.value("", v)
	s := storage.ShellText(doc.doc())
	return s[len("{ : ") : len(s)-len(" }")]
}

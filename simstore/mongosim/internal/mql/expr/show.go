package expr

import (
	"encoding/hex"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxShown bounds the values quoted in error messages.
const maxShown = 1000

// Show formats a value for an error message, cut if it is long.
func Show(v bson.RawValue) string { return show(v) }

// show formats a value for an error message.
func show(v bson.RawValue) string {
	var b strings.Builder
	showTo(&b, v)
	if b.Len() > maxShown {
		return b.String()[:maxShown] + "..."
	}
	return b.String()
}

func showTo(b *strings.Builder, v bson.RawValue) {
	if b.Len() > maxShown {
		return
	}
	switch v.Type {
	case 0:
		b.WriteString("MISSING")
	case bson.TypeNull, bson.TypeUndefined:
		b.WriteString(value.TypeName(v.Type))
	case bson.TypeMinKey:
		b.WriteString("MinKey")
	case bson.TypeMaxKey:
		b.WriteString("MaxKey")
	case bson.TypeString:
		fmt.Fprintf(b, "%q", value.AsString(v))
	case bson.TypeBoolean:
		fmt.Fprint(b, value.AsBool(v))
	case bson.TypeEmbeddedDocument:
		b.WriteByte('{')
		first := true
		for k, e := range value.Fields(v.Value) {
			if !first {
				b.WriteString(", ")
			}
			first = false
			b.WriteString(k + ": ")
			showTo(b, e)
		}
		b.WriteByte('}')
	case bson.TypeArray:
		b.WriteByte('[')
		for i, e := range value.Elements(v) {
			if i > 0 {
				b.WriteString(", ")
			}
			showTo(b, e)
		}
		b.WriteByte(']')
	case bson.TypeObjectID:
		b.WriteString(value.AsObjectID(v).Hex())
	case bson.TypeRegex:
		p, o := value.AsRegex(v)
		b.WriteString("/" + p + "/" + o)
	case bson.TypeBinary:
		sub, data := value.AsBinary(v)
		fmt.Fprintf(b, "BinData(%d, %q)", sub, strings.ToUpper(hex.EncodeToString(data[:min(len(data), maxShown)])))
	case bson.TypeTimestamp:
		t, i := value.AsTimestamp(v)
		fmt.Fprintf(b, "Timestamp(%d, %d)", t, i)
	default:
		s, err := coerceString(v)
		if err != nil {
			s = value.TypeName(v.Type)
		}
		b.WriteString(s)
	}
}

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// FuzzRead feeds the reader anything. Whatever it accepts must be valid for the driver's BSON
// library too, and must survive being written and read again.
func FuzzRead(f *testing.F) {
	doc := document(f, bson.D{{Key: "insert", Value: "c"}, {Key: "$db", Value: "d"}, {Key: "x", Value: bson.A{1, "y", bson.D{}}}})
	row := document(f, bson.D{{Key: "_id", Value: bson.NewObjectID()}})
	plain := message(0, bodySection(doc), sequenceSection("documents", row, row))
	f.Add(plain)
	f.Add(message(ChecksumPresent|MoreToCome, bodySection(doc)))
	f.Add(nested(plain))
	for _, id := range []CompressorID{CompressNoop, CompressSnappy, CompressZlib, CompressZstd} {
		f.Add(compressedMessage(f, id, plain, -1))
	}
	codec := &Codec{}
	f.Fuzz(func(t *testing.T, input []byte) {
		r := NewReader(bytes.NewReader(input), codec)
		for {
			req, err := r.Read()
			if _, bad := errors.AsType[*RequestError](err); bad {
				continue
			}
			if err != nil {
				return
			}
			if err := req.Body.Validate(); err != nil {
				t.Fatalf("accepted a body that is invalid: %v", err)
			}
			for _, s := range req.Sequences {
				for _, d := range s.Docs {
					if err := d.Validate(); err != nil {
						t.Fatalf("accepted a document that is invalid: %v", err)
					}
				}
			}
			if req.Op != OpMsg {
				continue
			}
			sections := [][]byte{bodySection(req.Body)}
			for _, s := range req.Sequences {
				sections = append(sections, sequenceSection(s.Name, s.Docs...))
			}
			again, err := NewReader(bytes.NewReader(message(req.Flags, sections...)), codec).Read()
			if err != nil || !bytes.Equal(again.Body, req.Body) || len(again.Sequences) != len(req.Sequences) {
				t.Fatalf("wrote %x and read it as %v, %v", message(req.Flags, sections...), again, err)
			}
		}
	})
}

// FuzzValidate compares the validation with the driver's: it may be stricter, never laxer.
func FuzzValidate(f *testing.F) {
	f.Add([]byte(document(f, bson.D{{Key: "a", Value: bson.CodeWithScope{Code: "x", Scope: bson.D{}}}, {Key: "b", Value: bson.Binary{Subtype: 2, Data: []byte{1}}}})))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) >= 4 {
			binary.LittleEndian.PutUint32(input, uint32(len(input)))
		}
		if ValidateDocument(input) != nil {
			return
		}
		if err := bson.Raw(input).Validate(); err != nil {
			t.Fatalf("accepted %x: %v", input, err)
		}
		var d bson.D
		_ = bson.Unmarshal(input, &d) // must not panic
	})
}

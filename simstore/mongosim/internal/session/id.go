package session

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// An ID identifies a session: the client's UUID and the digest of the user it
// belongs to.
type ID struct {
	UUID [16]byte
	User [32]byte
}

// NewID is the id of the session called uuid of a user; without authentication
// the user is empty.
func NewID(uuid [16]byte, user string) ID {
	return ID{UUID: uuid, User: sha256.Sum256([]byte(user))}
}

// String is the notation of the server's messages.
func (id ID) String() string {
	h := hex.EncodeToString(id.UUID[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:] +
		" - " + base64.StdEncoding.EncodeToString(id.User[:])
}

// Document is {id, uid}, as change streams show the session of a transaction.
func (id ID) Document() (bson.Raw, error) {
	return bson.Marshal(bson.D{
		{Key: "id", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: id.UUID[:]}},
		{Key: "uid", Value: bson.Binary{Subtype: bson.TypeBinaryGeneric, Data: id.User[:]}},
	})
}

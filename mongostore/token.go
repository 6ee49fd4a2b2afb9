package mongostore

import (
	"encoding/base64"
	"encoding/binary"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
)

// A token names the last event of each stream that an append wrote, by document
// id, and says where in time to look for it in the log: the append was committed
// not before since and not after until, in the cluster's time. Either may be
// zero, for unknown; the log is then searched further.
type token struct {
	since, until bson.Timestamp
	ids          []bson.ObjectID
}

const tokenVersion = 1

func (t token) encode() eventstore.Token {
	b := make([]byte, 0, 17+12*len(t.ids))
	b = append(b, tokenVersion)
	b = binary.BigEndian.AppendUint64(b, packTime(t.since))
	b = binary.BigEndian.AppendUint64(b, packTime(t.until))
	for _, id := range t.ids {
		b = append(b, id[:]...)
	}
	return eventstore.Token(base64.RawURLEncoding.EncodeToString(b))
}

func decodeToken(s eventstore.Token) (token, error) {
	b, err := base64.RawURLEncoding.DecodeString(string(s))
	if err != nil || len(b) < 17+12 || (len(b)-17)%12 != 0 || b[0] != tokenVersion {
		return token{}, &eventstore.InvalidError{What: "token", Reason: "was not made by an append to a MongoDB store"}
	}
	t := token{
		since: unpackTime(binary.BigEndian.Uint64(b[1:])),
		until: unpackTime(binary.BigEndian.Uint64(b[9:])),
	}
	for b = b[17:]; len(b) > 0; b = b[12:] {
		t.ids = append(t.ids, bson.ObjectID(b[:12]))
	}
	return t, nil
}

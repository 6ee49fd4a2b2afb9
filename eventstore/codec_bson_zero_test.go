package eventstore

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// odd is zero when it is even.
type odd int

func (o odd) IsZero() bool { return o%2 == 0 }

// unset is zero by a method of its pointer's.
type unset struct{ N int }

func (u *unset) IsZero() bool { return u.N < 0 }

type omitsZero struct {
	At     time.Time       `json:"at,omitzero"`
	Odd    odd             `json:"odd,omitzero"`
	OddPtr *odd            `json:"oddPtr,omitzero"`
	Unset  unset           `json:"unset,omitzero"`
	Inner  struct{ N int } `json:"inner,omitzero"`
	List   []int           `json:"list,omitzero"`
	Both   []int           `json:"both,omitempty,omitzero"`
	Tagged int             `bson:"tagged,omitzero" json:"-"`
	Plain  int             `json:"omitzero"`
	String int             `json:"string"`
}

// omitzero leaves out of BSON what it leaves out of JSON.
func TestBSONCodecOmitsZero(t *testing.T) {
	t.Parallel()
	codec := NewBSONCodec()
	two, three := odd(2), odd(3)
	for name, v := range map[string]omitsZero{
		"zero":             {},
		"zero by a method": {Odd: 4, OddPtr: &two, Unset: unset{N: -1}},
		"empty lists":      {List: []int{}, Both: []int{}},
		"nothing is zero": {
			At: time.UnixMilli(5).UTC(), Odd: 3, OddPtr: &three, Unset: unset{N: 1}, Inner: struct{ N int }{2},
			List: []int{1}, Both: []int{2}, Tagged: 7, Plain: 8, String: 9,
		},
	} {
		data, err := codec.Marshal(v)
		require.NoError(t, err)
		var got, want map[string]any
		require.NoError(t, bson.Unmarshal(data, &got))
		asJSON, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(asJSON, &want))
		if v.Tagged != 0 {
			want["tagged"] = v.Tagged
		}
		for key := range want {
			require.Contains(t, got, key, name)
		}
		require.Len(t, got, len(want), name)

		var back omitsZero
		require.NoError(t, codec.Unmarshal(data, &back))
		if name == "nothing is zero" {
			require.Equal(t, v, back)
		}
	}
}

type (
	quoted struct {
		N int `json:"n,string"`
	}
	quotedDeeper  struct{ Lines []map[string]*quoted }
	quotedInArray struct{ Lines [2]quoted }
	quotedInBSON  struct {
		N int `bson:"n" json:"n,string"`
	}
	omitsWithAny struct {
		At  time.Time `json:"at,omitzero"`
		Any any
	}
	omitsOutOfReach struct {
		Oid bson.ObjectID
		In  [1]struct {
			N int `json:",omitzero"`
		}
	}
)

// A tag that would not be heeded is refused, by the registry and by the codec, and
// taken by the codec that heeds it.
func TestTagsThatBSONDoesNotHeedAreRefused(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		def   TypeDef
		value any
	}{
		"eventstore.quoted.N has the option string":                {Type[quoted]("x"), &quoted{}},
		"quoted.N has the option string, which BSON does not know": {Type[quotedDeeper]("x"), &quotedDeeper{}},
		"take it out, or give the field a bson tag":                {Type[quotedInArray]("x"), &quotedInArray{}},
		"omitsWithAny.At has the option omitzero":                  {Type[omitsWithAny]("x"), &omitsWithAny{}},
		".N has the option omitzero":                               {Type[omitsOutOfReach]("x"), &omitsOutOfReach{}},
		"the option string":                                        {Type[Upcasted]("x", Schema(2), Upcast(1, func(quoted) (Upcasted, error) { return Upcasted{}, nil })), &quoted{}},
	} {
		_, err := NewRegistry(nil, c.def)
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, ErrInvalid)
		_, err = NewRegistry(NewJSONCodec(), c.def)
		require.NoError(t, err)

		codec := NewBSONCodec()
		_, err = codec.Marshal(c.value)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, codec.Unmarshal([]byte{5, 0, 0, 0, 0}, c.value), want)
	}
	_, err := NewRegistry(nil, Type[quotedInBSON]("x"))
	require.NoError(t, err, "the json tag is not read")
}

// Upcasted is what a quoted becomes.
type Upcasted struct{ N int }

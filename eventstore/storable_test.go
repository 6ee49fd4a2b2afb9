package eventstore_test

import (
	"math/big"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
)

type (
	base    struct{ ID string }
	embeds  struct{ base }
	hidden  struct{ cents int } //nolint:unused // it is there to be refused
	payment struct{ Amount hidden }
	partly  struct{ Amount, hidden int } //nolint:unused // it is there not to be refused
	nested  struct{ Lines []map[string]*payment }
	failed  struct{ Reason error }
	waiting struct{ Done chan int }
	skipped struct {
		Done chan int `json:"-"`
		N    int
	}
	tree     struct{ Children []tree }
	marker   struct{}
	unusable struct{ _ int }
	ordinary struct {
		At  time.Time
		Any any
		ID  uuid.UUID
		Raw bson.Raw
		OID bson.ObjectID
	}
	number  struct{ N big.Int }
	remote  struct{ Addr netip.Addr }
	linked  struct{ To *url.URL }
	numbers struct{ N map[string]big.Int }
	points  struct{ n int64 }
	graded  struct{ Points points }
	cents   struct{ n int64 }
	priced  struct{ Price cents }
)

func (c cents) MarshalBSONValue() (byte, []byte, error) {
	t, data, err := bson.MarshalValue(c.n)
	return byte(t), data, err
}

func (c *cents) UnmarshalBSONValue(t byte, data []byte) error {
	return bson.UnmarshalValue(bson.Type(t), data, &c.n)
}

func (p *points) MarshalBSONValue() (byte, []byte, error) { return cents(*p).MarshalBSONValue() }

func (p *points) UnmarshalBSONValue(t byte, data []byte) error {
	return (*cents)(p).UnmarshalBSONValue(t, data)
}

// A type that a codec would write empty, or could not read, is refused when the
// registry is built: what is in the store is there for good.
func TestRegistryRefusesWhatWouldBeLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		def        eventstore.TypeDef
		bson, json string // what is said; "" if it is taken
	}{
		"ordinary":          {def: eventstore.Type[ordinary]("x")},
		"recursive":         {def: eventstore.Type[tree]("x")},
		"no fields":         {def: eventstore.Type[marker]("x")},
		"blank fields":      {def: eventstore.Type[unusable]("x")},
		"fields left out":   {def: eventstore.Type[skipped]("x")},
		"some unexported":   {def: eventstore.Type[partly]("x")},
		"map of anything":   {def: eventstore.Type[map[string]any]("x")},
		"all unexported":    {eventstore.Type[hidden]("x"), "hidden) has unexported fields only", "hidden) has unexported fields only"},
		"in a field":        {eventstore.Type[payment]("x"), "payment.Amount (eventstore_test.hidden) has unexported", "give it MarshalJSON"},
		"deeper":            {eventstore.Type[nested]("x"), "nested.Lines.Amount (", "nested.Lines.Amount ("},
		"embedded":          {eventstore.Type[embeds]("x"), "embeds.base is embedded and not exported", ""},
		"interface":         {eventstore.Type[failed]("x"), "failed.Reason is an interface (error)", "failed.Reason is an interface (error)"},
		"channel":           {eventstore.Type[waiting]("x"), "Done (chan int) cannot be stored", "Done (chan int) cannot be stored"},
		"number by itself":  {eventstore.Type[number]("x"), "number.N (big.Int) has unexported fields only", ""},
		"numbers in a map":  {eventstore.Type[numbers]("x"), "has unexported fields only", "numbers.N (big.Int) is in a map and writes itself by a method of *big.Int"},
		"points in a map":   {eventstore.Type[map[string][1]graded]("x"), "(eventstore_test.points) is in a map and writes itself by a method of *eventstore_test.points", "unexported fields only"},
		"pointers in a map": {eventstore.Type[map[string]*graded]("x"), "", "unexported fields only"},
		"address by itself": {eventstore.Type[remote]("x"), "give it MarshalBSONValue and UnmarshalBSONValue", ""},
		"link":              {eventstore.Type[linked]("x"), "", "linked.To.User (url.Userinfo) has unexported"},
		"with methods":      {eventstore.Type[priced]("x"), "", "give it MarshalJSON and UnmarshalJSON"},
		"time":              {eventstore.Type[time.Time]("x"), "does not encode as a document", "does not encode as a document"},
		"former shape":      {eventstore.Type[marker]("x", eventstore.Schema(2), eventstore.Upcast(1, func(hidden) (marker, error) { return marker{}, nil })), "unexported fields only", "unexported fields only"},
		"upcaster without":  {eventstore.Type[marker]("x", eventstore.Schema(2), eventstore.Upcast[marker, marker](1, nil)), "has no function to upcast", "has no function to upcast"},
		"empty declaration": {eventstore.TypeDef{}, "make it with eventstore.Type", "make it with eventstore.Type"},
	} {
		for codec, want := range map[eventstore.Codec]string{eventstore.NewBSONCodec(): c.bson, eventstore.NewJSONCodec(): c.json} {
			_, err := eventstore.NewRegistry(codec, c.def)
			if want == "" {
				require.NoError(t, err, "%s, %s", name, codec.Format())
				continue
			}
			require.ErrorContains(t, err, want, "%s, %s", name, codec.Format())
			require.ErrorIs(t, err, eventstore.ErrInvalid)
		}
	}
}

func TestRegistryKeepsWhatWritesItself(t *testing.T) {
	t.Parallel()
	r := eventstore.MustRegistry(eventstore.Type[priced]("x"))
	data, err := r.Encode(priced{Price: cents{n: 250}})
	require.NoError(t, err)
	got, err := r.Decode(eventstore.Event{Type: "x", Schema: 1, Data: data[0].Data})
	require.NoError(t, err)
	require.Equal(t, priced{Price: cents{n: 250}}, got)
}

// The methods that a type writes itself with may be those of its pointers, whether
// the event is given as a value or as a pointer.
func TestRegistryKeepsWhatPointersWrite(t *testing.T) {
	t.Parallel()
	kept := func(codec eventstore.Codec, def eventstore.TypeDef, value, pointer any) {
		r, err := eventstore.NewRegistry(codec, def)
		require.NoError(t, err)
		events, err := r.Encode(value, pointer)
		require.NoError(t, err)
		require.Equal(t, string(events[1].Data), string(events[0].Data))
		got, err := r.Decode(eventstore.Event{Type: "x", Schema: 1, Format: codec.Format(), Data: events[0].Data})
		require.NoError(t, err)
		require.Equal(t, value, got)
	}
	g := graded{Points: points{n: 5}}
	kept(eventstore.NewBSONCodec(), eventstore.Type[graded]("x"), g, &g)
	list := map[string][]graded{"a": {g}}
	kept(eventstore.NewBSONCodec(), eventstore.Type[map[string][]graded]("x"), list, &list)
	n := number{N: *big.NewInt(250)}
	kept(eventstore.NewJSONCodec(), eventstore.Type[number]("x"), n, &n)
}

package command

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// scramSHA256 is the only mechanism: the default of every driver.
const scramSHA256 = "SCRAM-SHA-256"

// scramIterations is the real server's default.
const scramIterations = 15000

// A User may authenticate, and may then do everything.
type User struct {
	Name     string
	Password string
	Database string // where the user is defined; admin by default
}

func (u User) database() string {
	if u.Database == "" {
		return "admin"
	}
	return u.Database
}

// users are the accounts of a node. Without any, clients need not authenticate.
type users struct {
	byName map[string]User // "db.name"
	stored map[string]scram.StoredCredentials
}

func newUsers(list []User) (*users, error) {
	u := &users{byName: map[string]User{}, stored: map[string]scram.StoredCredentials{}}
	for _, user := range list {
		if user.Name == "" {
			return nil, fmt.Errorf("a user has no name")
		}
		client, err := scram.SHA256.NewClient(user.Name, user.Password, "")
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", user.Name, err)
		}
		salt := make([]byte, 28)
		if _, err := rand.Read(salt); err != nil {
			return nil, err
		}
		key := user.database() + "." + user.Name
		stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: scramIterations})
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", user.Name, err)
		}
		u.byName[key], u.stored[key] = user, stored
	}
	return u, nil
}

// SetUsers replaces the accounts. Connections that have authenticated stay so, as
// on the real server after a change of passwords.
func (e *Engine) SetUsers(list []User) error {
	u, err := newUsers(list)
	if err == nil {
		e.users.Store(u)
	}
	return err
}

func (u *users) required() bool { return len(u.byName) > 0 }

// authState is what a connection has proved.
type authState struct {
	mu           sync.Mutex
	who          *User
	conversation *scram.ServerConversation
	db           string
	id           int32
	skipEmpty    bool
}

// user is the authenticated user.
func (a *authState) user() (User, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.who == nil {
		return User{}, false
	}
	return *a.who, true
}

// identity is what a session's owner is identified by.
func (a *authState) identity() string {
	if u, ok := a.user(); ok {
		return u.Name + "@" + u.database()
	}
	return ""
}

// checkAuthenticated refuses commands of clients that have not said who they are.
func (r *request) checkAuthenticated() error {
	if r.cmd.noAuth || !r.e.users.Load().required() {
		return nil
	}
	if _, ok := r.conn.auth.user(); ok {
		return nil
	}
	return mongoerr.New(mongoerr.Unauthorized, "command %s requires authentication", r.cmd.name)
}

func errAuthentication() error {
	return mongoerr.New(mongoerr.AuthenticationFailed, "Authentication failed.")
}

func saslStart(_ context.Context, r *request, out *reply) error {
	return r.saslStart(r.db, r.field("mechanism"), r.field("payload"), r.field("options"), out)
}

func (r *request) saslStart(db string, mechanism, payload, options bson.RawValue, out *reply) error {
	name, _ := mechanism.StringValueOK()
	switch name {
	case scramSHA256:
	case "SCRAM-SHA-1": // what drivers fall back to for users they know nothing about
		return errAuthentication()
	default:
		return mongoerr.New(mongoerr.MechanismUnavailable, "Received authentication for mechanism %s which is not enabled", name)
	}
	server, err := scram.SHA256.NewServer(func(user string) (scram.StoredCredentials, error) {
		stored, ok := r.e.users.Load().stored[db+"."+user]
		if !ok {
			return scram.StoredCredentials{}, fmt.Errorf("no user %q", user)
		}
		return stored, nil
	})
	if err != nil {
		return err
	}
	a := &r.conn.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	a.id++
	a.conversation, a.db = server.NewConversation(), db
	a.skipEmpty = false
	if doc, ok := options.DocumentOK(); ok {
		a.skipEmpty = value.Truthy(value.Field(doc, "skipEmptyExchange"))
	}
	return r.saslStep(a, payload, out)
}

func saslContinue(_ context.Context, r *request, out *reply) error {
	a := &r.conn.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	id, ok := r.field("conversationId").AsInt64OK()
	if a.conversation == nil || !ok || int32(id) != a.id {
		return mongoerr.New(mongoerr.ProtocolError, "No SASL session state found")
	}
	return r.saslStep(a, r.field("payload"), out)
}

func (r *request) saslStep(a *authState, payload bson.RawValue, out *reply) error {
	var challenge string
	if _, data, ok := payload.BinaryOK(); ok {
		challenge = string(data)
	} else if s, ok := payload.StringValueOK(); ok {
		decoded, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return errAuthentication()
		}
		challenge = string(decoded)
	}
	var response string
	conv := a.conversation
	if !conv.Done() {
		var err error
		if response, err = conv.Step(challenge); err != nil {
			a.conversation = nil
			return errAuthentication()
		}
	}
	done := conv.Done() && (a.skipEmpty || challenge == "")
	if conv.Done() {
		if !conv.Valid() {
			a.conversation = nil
			return errAuthentication()
		}
		user := r.e.users.Load().byName[a.db+"."+conv.Username()]
		a.who = &user
	}
	if done {
		a.conversation = nil
	}
	out.int32("conversationId", a.id)
	out.bool("done", done)
	out.binary("payload", bson.TypeBinaryGeneric, []byte(response))
	return nil
}

// speculate takes the first step of authentication along with hello, and tells which
// mechanisms a user has.
func (r *request) speculate(out *reply) error {
	if v, ok := r.field("saslSupportedMechs").StringValueOK(); ok {
		db, name, _ := strings.Cut(v, ".")
		if _, known := r.e.users.Load().byName[db+"."+name]; known {
			out.strings("saslSupportedMechs", []string{scramSHA256})
		}
	}
	doc, ok := r.field("speculativeAuthenticate").DocumentOK()
	if !ok || !r.e.users.Load().required() {
		return nil
	}
	if start, _ := value.Field(doc, "mechanism").StringValueOK(); start != scramSHA256 {
		return nil
	}
	db, _ := value.Field(doc, "db").StringValueOK()
	step := newReply()
	if err := r.saslStart(db, value.Field(doc, "mechanism"), value.Field(doc, "payload"), value.Field(doc, "options"), step); err != nil {
		return nil // the client goes on without speculation, and learns the error then
	}
	out.document("speculativeAuthenticate", step.doc())
	return nil
}

func logout(_ context.Context, r *request, _ *reply) error {
	a := &r.conn.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	a.who, a.conversation = nil, nil
	return nil
}

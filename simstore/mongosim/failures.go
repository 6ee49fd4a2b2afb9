package mongosim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/command"
	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// A FailPoint makes commands fail. When it fires is said by the fields up to Namespace,
// what happens then by the others, of which at least one must be set.
type FailPoint struct {
	// Commands are the commands concerned, such as "insert" or "commitTransaction".
	Commands []string
	// Times is how often it fires before it turns itself off; 0: until it is
	// replaced or cleared.
	Times int
	// Skip lets so many of the commands pass before it fires always. It excludes Times.
	Skip int
	// Probability, between 0 and 1, lets chance decide; 0: it fires always. It
	// excludes Times and Skip.
	Probability float64
	// AppName confines it to connections of one application name.
	AppName string
	// Namespace confines it to one "database.collection".
	Namespace string

	// ErrorCode makes the command fail before it has done anything. The server adds
	// the labels that the code has for the command.
	ErrorCode int
	// ErrorLabels replace those labels; empty but not nil: none.
	ErrorLabels []string
	// CloseConnection hangs up before the command has done anything.
	CloseConnection bool
	// LoseReply hangs up after the command has done its work: the client cannot
	// know.
	LoseReply bool
	// Block delays the command.
	Block time.Duration
	// WriteConcernError is added to the reply of a command that has done its work.
	WriteConcernError *WriteConcernError
}

// A WriteConcernError says that a write has been applied but not confirmed as asked.
type WriteConcernError struct {
	Code    int
	Name    string // the code's name, left out if empty
	Message string
}

// FailCommand sets the server's fail point, in place of the one before, which is also what
// configureFailPoint sets. It fails on a FailPoint that contradicts itself.
func (s *Server) FailCommand(f FailPoint) error {
	if err := f.validate(); err != nil {
		return err
	}
	data := command.FailData{
		Commands: f.Commands, AppName: f.AppName, Namespace: f.Namespace,
		ErrorCode: mongoerr.Code(f.ErrorCode), HasErrorCode: f.ErrorCode != 0, ErrorLabels: f.ErrorLabels,
		CloseConnection: f.CloseConnection, LoseReply: f.LoseReply, Block: f.Block,
	}
	if w := f.WriteConcernError; w != nil {
		doc := bson.D{{Key: "code", Value: int32(w.Code)}}
		if w.Name != "" {
			doc = append(doc, bson.E{Key: "codeName", Value: w.Name})
		}
		raw, err := bson.Marshal(append(doc, bson.E{Key: "errmsg", Value: w.Message}))
		if err != nil {
			return fmt.Errorf("mongosim: FailPoint.WriteConcernError: %w", err)
		}
		data.WriteConcernError = raw
	}
	s.engine.SetFailPoint(command.FailMode{
		Times: int64(f.Times), Skip: int64(f.Skip), Probability: f.Probability,
	}, data)
	return nil
}

func (f FailPoint) validate() error {
	switch {
	case len(f.Commands) == 0:
		return errors.New("mongosim: FailPoint.Commands is empty")
	case f.Times < 0 || f.Skip < 0 || f.Block < 0:
		return errors.New("mongosim: FailPoint.Times, Skip and Block must not be negative")
	case f.Probability < 0 || f.Probability > 1:
		return errors.New("mongosim: FailPoint.Probability must be between 0 and 1")
	case f.Times > 0 && f.Skip > 0, f.Probability > 0 && (f.Times > 0 || f.Skip > 0):
		return errors.New("mongosim: FailPoint.Times, Skip and Probability exclude each other")
	case f.ErrorCode == 0 && !f.CloseConnection && !f.LoseReply && f.Block == 0 && f.WriteConcernError == nil:
		return errors.New("mongosim: FailPoint does nothing: set ErrorCode, CloseConnection, LoseReply, Block or WriteConcernError")
	}
	return nil
}

// ClearFailPoint turns the fail point off.
func (s *Server) ClearFailPoint() {
	s.engine.SetFailPoint(command.FailMode{Off: true}, command.FailData{})
}

// FailPointFired is how often fail points have fired since the server was started.
func (s *Server) FailPointFired() int64 { return s.engine.FailPointFired() }

// StepDown makes the node a secondary for d, after which it is elected again; a negative d
// leaves it a secondary until [Server.Elect]. Open transactions are aborted, writes that
// wait are interrupted (InterruptedDueToReplStateChange), further ones refused
// (NotWritablePrimary). It reports whether the node was primary.
func (s *Server) StepDown(d time.Duration) bool { return s.engine.StepDown(d) }

// Elect makes the node primary again, if it is not.
func (s *Server) Elect() { s.engine.Elect() }

// DropConnections hangs up on every client, as a network that fails does. Clients may connect
// again at once.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.hangUp()
	}
}

// SetUsers replaces the accounts of Config.Users, as when passwords are changed.
// Connections that have authenticated stay so until they end. A server that began
// without users, or is left without any, asks nobody to authenticate.
func (s *Server) SetUsers(users ...User) error {
	list := make([]command.User, len(users))
	for i, u := range users {
		list[i] = command.User(u)
	}
	return s.engine.SetUsers(list)
}

// TruncateOplog forgets all operations up to now: a change stream that has not yet
// read them, or resumes before them, gets ChangeStreamHistoryLost (286).
func (s *Server) TruncateOplog() { s.engine.TruncateOplog() }

// DeleteExpired deletes what TTL indexes have let expire by now, and returns how many
// documents that were.
func (s *Server) DeleteExpired(ctx context.Context) (int, error) { return s.engine.RunTTL(ctx) }

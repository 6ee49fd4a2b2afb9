package projection

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/annals-es/annals/eventstore"
)

// ErrRunning says that a runner is running already.
var ErrRunning = errors.New("projection is running already")

// A HandlerError says which event a handler could not handle.
type HandlerError struct {
	Projection CheckpointKey
	Event      eventstore.EventRef
	// Attempts is how often the handler was tried.
	Attempts int
	Err      error
}

func (e *HandlerError) Error() string {
	return fmt.Sprintf("projection %s: %s at position %d (%q version %d) failed after %d attempts: %v",
		e.Projection, e.Event.Type, e.Event.Position, e.Event.Stream, e.Event.Version, e.Attempts, e.Err)
}

// Unwrap returns the handler's error.
func (e *HandlerError) Unwrap() error { return e.Err }

// Permanent marks a handler's error as one that trying again cannot cure.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether an error was marked by [Permanent].
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// A PanicError is a panic of a handler.
type PanicError struct {
	Value any
	Stack []byte
}

func newPanicError(value any) *PanicError {
	return &PanicError{Value: value, Stack: debug.Stack()}
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

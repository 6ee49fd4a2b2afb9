package readmodel

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/annals-es/annals/mongostore/internal/refusal"
)

// stranded are transactions that a client was not able to end because its
// credentials were refused. Their locks would keep a partition from going on until
// the server's time limit, so the next client ends them.
type stranded struct {
	some  atomic.Bool
	mu    sync.Mutex
	errs  []error
	tried *binding // the one that has tried all of them
}

// note keeps an error that has left a transaction behind.
func (s *stranded) note(err error) {
	if !refusal.IsStranded(err) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs, s.tried = append(s.errs, err), nil
	s.some.Store(true)
}

// free has a client end what there is. What it cannot, the next one tries.
func (s *stranded) free(ctx context.Context, on *binding) {
	if !s.some.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tried == on {
		return
	}
	s.tried = on
	var left []error
	for _, err := range s.errs {
		if refused := refusal.Free(ctx, on.client, err); refusal.Is(refused) {
			left = append(left, err)
		}
	}
	s.errs = left
	s.some.Store(len(left) > 0)
}

package readmodel

import (
	"testing"
	"time"

	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectiontest"
)

func TestBackend(t *testing.T) {
	t.Parallel()
	projectiontest.Backend(t, func(t *testing.T) (projection.Backend, func(time.Duration)) {
		return setup(t), time.Sleep
	})
}

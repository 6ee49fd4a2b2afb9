package projectionprom_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectionprom"
)

type source func() ([]projection.ProjectionStatus, error)

func (s source) Statuses(context.Context) ([]projection.ProjectionStatus, error) { return s() }

func TestCollector(t *testing.T) {
	t.Parallel()
	c := projectionprom.New(source(func() ([]projection.ProjectionStatus, error) {
		return []projection.ProjectionStatus{{
			Name:    "orders",
			Current: 1,
			Versions: []projection.VersionStatus{
				{Version: 1, Lag: 7, LagTime: 1500 * time.Millisecond, Rate: 12.5, Parked: 3, ParkedKeys: 2, Partitions: []projection.PartitionStatus{
					{Key: projection.CheckpointKey{Projection: "orders", Version: 1, Partition: 4}, State: projection.CatchingUp, Owner: "w", Position: 93, EventTime: time.UnixMilli(1_700_000_000_500)},
				}},
				{Version: 2, Remaining: -1},
			},
		}}, nil
	}), projectionprom.Config{})
	require.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(`
# HELP annals_projection_lag_events Positions between the partition furthest behind and the log's head.
# TYPE annals_projection_lag_events gauge
annals_projection_lag_events{current="false",projection="orders",version="2"} 0
annals_projection_lag_events{current="true",projection="orders",version="1"} 7
# HELP annals_projection_lag_seconds Age of the first event that is not handled yet, 0 when all are.
# TYPE annals_projection_lag_seconds gauge
annals_projection_lag_seconds{current="false",projection="orders",version="2"} 0
annals_projection_lag_seconds{current="true",projection="orders",version="1"} 1.5
# HELP annals_projection_last_event_timestamp_seconds Time of the last event that a partition handled.
# TYPE annals_projection_last_event_timestamp_seconds gauge
annals_projection_last_event_timestamp_seconds{partition="4",projection="orders",version="1"} 1.7000000005e+09
# HELP annals_projection_owned Whether a worker runs the partition.
# TYPE annals_projection_owned gauge
annals_projection_owned{partition="4",projection="orders",version="1"} 1
# HELP annals_projection_parked_events Events in dead letters.
# TYPE annals_projection_parked_events gauge
annals_projection_parked_events{current="false",projection="orders",version="2"} 0
annals_projection_parked_events{current="true",projection="orders",version="1"} 3
# HELP annals_projection_remaining_seconds Estimated time to catch up, +Inf when it cannot be told.
# TYPE annals_projection_remaining_seconds gauge
annals_projection_remaining_seconds{current="false",projection="orders",version="2"} +Inf
annals_projection_remaining_seconds{current="true",projection="orders",version="1"} 0
# HELP annals_projection_state 1 for the state that a partition is in.
# TYPE annals_projection_state gauge
annals_projection_state{partition="4",projection="orders",state="catching up",version="1"} 1
# HELP annals_projection_up Whether the state of the projections could be read.
# TYPE annals_projection_up gauge
annals_projection_up 1
`), "annals_projection_lag_events", "annals_projection_lag_seconds", "annals_projection_owned", "annals_projection_parked_events",
		"annals_projection_remaining_seconds", "annals_projection_state", "annals_projection_up", "annals_projection_last_event_timestamp_seconds"))
	problems, err := testutil.CollectAndLint(c)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestCollectorOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := projectionprom.New(source(func() ([]projection.ProjectionStatus, error) { return nil, errors.New("down") }), projectionprom.Config{})
	require.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(`
# HELP annals_projection_up Whether the state of the projections could be read.
# TYPE annals_projection_up gauge
annals_projection_up 0
`)))
}

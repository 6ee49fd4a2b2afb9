package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/annals-es/annals/mongostore/client"
)

// TestSettingsAreAccepted reads the ConfigMap as the program would, and finds
// every variable of it to be one that is read.
func TestSettingsAreAccepted(t *testing.T) {
	t.Parallel()
	configs := all[*corev1.ConfigMap](t)
	require.Len(t, configs, 1)
	read := map[string]bool{}
	cfg, err := client.FromEnv(func(name string) (string, bool) {
		read[name] = true
		if name == "MONGODB_URI" {
			return "mongodb://db.example.com/?replicaSet=rs0", true
		}
		v, ok := configs[0].Data[name]
		return v, ok
	})
	require.NoError(t, err)
	require.NoError(t, cfg.ForEvents())
	for name := range configs[0].Data {
		require.True(t, read[name], "%s is no setting", name)
	}
}

package checks

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/annals-es/annals/mongostore/client"
)

// TestSettingsAreAccepted reads the ConfigMap as the program would, and finds
// every variable of it, and of the deployments, to be one that is read.
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
	for _, d := range all[*appsv1.Deployment](t) {
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			if strings.HasPrefix(e.Name, "MONGODB_") {
				require.True(t, read[e.Name], "%s of %s is no setting", e.Name, d.Name)
			}
		}
	}
}

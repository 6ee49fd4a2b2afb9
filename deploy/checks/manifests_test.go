package checks

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const manifests = "../kubernetes"

// kinds are the types of what the manifests may hold.
func kinds() map[metav1.TypeMeta]func() any {
	of := func(version, kind string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: version, Kind: kind} }
	return map[metav1.TypeMeta]func() any{
		of("v1", "Namespace"):                                  func() any { return &corev1.Namespace{} },
		of("v1", "Secret"):                                     func() any { return &corev1.Secret{} },
		of("v1", "ConfigMap"):                                  func() any { return &corev1.ConfigMap{} },
		of("v1", "Service"):                                    func() any { return &corev1.Service{} },
		of("apps/v1", "Deployment"):                            func() any { return &appsv1.Deployment{} },
		of("policy/v1", "PodDisruptionBudget"):                 func() any { return &policyv1.PodDisruptionBudget{} },
		of("networking.k8s.io/v1", "NetworkPolicy"):            func() any { return &networkingv1.NetworkPolicy{} },
		of("kustomize.config.k8s.io/v1beta1", "Kustomization"): func() any { return &kustomization{} },
	}
}

type kustomization struct {
	metav1.TypeMeta `json:",inline"`
	Namespace       string   `json:"namespace"`
	Resources       []string `json:"resources"`
}

// load decodes all manifests, refusing fields that their types do not have.
func load(t *testing.T) []any {
	t.Helper()
	paths, err := filepath.Glob(manifests + "/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var objects []any
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
			doc, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, path)
			var meta metav1.TypeMeta
			require.NoError(t, yaml.Unmarshal(doc, &meta), path)
			empty, ok := kinds()[meta]
			require.True(t, ok, "%s holds a %s that nothing checks", path, meta)
			object := empty()
			require.NoError(t, yaml.UnmarshalStrict(doc, object), path)
			objects = append(objects, object)
		}
	}
	return objects
}

func all[T any](t *testing.T) (found []T) {
	t.Helper()
	for _, o := range load(t) {
		if v, ok := o.(T); ok {
			found = append(found, v)
		}
	}
	return found
}

func TestManifestsAreWhatTheyShouldBe(t *testing.T) {
	t.Parallel()
	deployments := all[*appsv1.Deployment](t)
	require.Len(t, deployments, 2)
	for _, d := range deployments {
		require.Equal(t, d.Spec.Selector.MatchLabels["app.kubernetes.io/name"], d.Spec.Template.Labels["app.kubernetes.io/name"], d.Name)
		require.GreaterOrEqual(t, *d.Spec.Replicas, int32(2), d.Name)
		pod := d.Spec.Template.Spec
		require.GreaterOrEqual(t, *pod.TerminationGracePeriodSeconds, int64(20), "time to hand work over")
		require.True(t, *pod.SecurityContext.RunAsNonRoot, d.Name)
		for _, c := range pod.Containers {
			require.Equal(t, resource.MustParse("256Mi"), c.Resources.Requests[corev1.ResourceMemory])
			require.Equal(t, resource.MustParse("100m"), c.Resources.Requests[corev1.ResourceCPU])
			require.Equal(t, resource.MustParse("512Mi"), c.Resources.Limits[corev1.ResourceMemory])
			require.Equal(t, resource.MustParse("500m"), c.Resources.Limits[corev1.ResourceCPU])
			require.Equal(t, "/live", c.LivenessProbe.HTTPGet.Path)
			require.Equal(t, "/ready", c.ReadinessProbe.HTTPGet.Path)
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
			require.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
			for _, e := range c.Env {
				if e.Name == "MONGODB_URI" {
					require.NotNil(t, e.ValueFrom.SecretKeyRef, "the URI is a secret")
				}
			}
		}
	}
}

// TestOneFrontOneWorker finds the work in one deployment and the requests in the
// other.
func TestOneFrontOneWorker(t *testing.T) {
	t.Parallel()
	commands := map[string][]string{}
	for _, d := range all[*appsv1.Deployment](t) {
		commands[d.Name] = d.Spec.Template.Spec.Containers[0].Args
	}
	require.Equal(t, map[string][]string{
		"orders":        {"serve", "-listen", ":8080", "-workers=false"},
		"orders-worker": {"worker", "-listen", ":8080"},
	}, commands)
	services := all[*corev1.Service](t)
	require.Len(t, services, 1)
	require.Equal(t, "orders", services[0].Spec.Selector["app.kubernetes.io/name"])
}

// TestReferencesLeadSomewhere follows what manifests say of each other.
func TestReferencesLeadSomewhere(t *testing.T) {
	t.Parallel()
	secrets, configs := map[string]*corev1.Secret{}, map[string]bool{}
	for _, s := range all[*corev1.Secret](t) {
		secrets[s.Name] = s
	}
	for _, c := range all[*corev1.ConfigMap](t) {
		configs[c.Name] = true
	}
	pods := map[string]bool{}
	for _, d := range all[*appsv1.Deployment](t) {
		pods[d.Spec.Template.Labels["app.kubernetes.io/name"]] = true
		mounted := map[string]bool{}
		for _, v := range d.Spec.Template.Spec.Volumes {
			require.Contains(t, secrets, v.Secret.SecretName)
			for _, item := range v.Secret.Items {
				require.Contains(t, secrets[v.Secret.SecretName].StringData, item.Key)
				for _, m := range d.Spec.Template.Spec.Containers[0].VolumeMounts {
					if m.Name == v.Name {
						mounted[m.MountPath+"/"+item.Path] = true
					}
				}
			}
		}
		for _, c := range d.Spec.Template.Spec.Containers {
			for _, from := range c.EnvFrom {
				require.True(t, configs[from.ConfigMapRef.Name], from.ConfigMapRef.Name)
			}
			for _, e := range c.Env {
				if e.ValueFrom == nil {
					if strings.HasSuffix(e.Name, "_FILE") {
						require.True(t, mounted[e.Value], "%s is mounted", e.Value)
					}
					continue
				}
				ref := e.ValueFrom.SecretKeyRef
				require.Contains(t, secrets, ref.Name)
				require.Contains(t, secrets[ref.Name].StringData, ref.Key)
			}
		}
	}
	budgets := map[string]bool{}
	for _, b := range all[*policyv1.PodDisruptionBudget](t) {
		budgets[b.Spec.Selector.MatchLabels["app.kubernetes.io/name"]] = true
		require.NotEqual(t, b.Spec.MinAvailable == nil, b.Spec.MaxUnavailable == nil, "one of both")
	}
	require.Equal(t, pods, budgets, "each deployment has a disruption budget")
	for _, s := range all[*corev1.Service](t) {
		require.True(t, pods[s.Spec.Selector["app.kubernetes.io/name"]], s.Name)
	}
	for _, k := range all[*kustomization](t) {
		for _, path := range k.Resources {
			require.FileExists(t, filepath.Join(manifests, path))
		}
	}
}

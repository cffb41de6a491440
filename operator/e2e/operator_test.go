//go:build k8s

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The operator's namespace, and its name.
const (
	operatorNamespace = "millrace-system"
	operatorName      = "millrace-operator"
)

// installOperator has the operator run, with the definitions and the rights that are beside its source.
func installOperator(ctx context.Context) error {
	meta := metav1.ObjectMeta{Name: operatorName, Namespace: operatorNamespace}
	account := []rbacv1.Subject{{Kind: "ServiceAccount", Name: operatorName, Namespace: operatorNamespace}}
	objects := []client.Object{
		&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace, Labels: restricted}},
		&corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: meta},
		&rbacv1.ClusterRoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding"}, ObjectMeta: metav1.ObjectMeta{Name: operatorName},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: operatorName}, Subjects: account,
		},
		&rbacv1.Role{
			TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"}, ObjectMeta: meta,
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create", "get", "update"}},
				{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
			},
		},
		&rbacv1.RoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"}, ObjectMeta: meta,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: operatorName}, Subjects: account,
		},
		operatorDeployment(meta),
	}
	files, err := filepath.Glob("../crds/*.yaml")
	if err != nil {
		return err
	}
	for _, file := range append(files, "../rbac/role.yaml") {
		if err := applyFile(ctx, file); err != nil {
			return err
		}
	}
	for _, o := range objects {
		if err := apply(ctx, o); err != nil {
			return fmt.Errorf("the operator's %s: %w", o.GetObjectKind().GroupVersionKind().Kind, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return await(ctx, func() (lacks string) {
		var d appsv1.Deployment
		if err := world.client.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, &d); err != nil {
			return err.Error()
		}
		if d.Status.ObservedGeneration < d.Generation || d.Status.ReadyReplicas != 1 || d.Status.Replicas != 1 || d.Status.UpdatedReplicas != 1 {
			return fmt.Sprintf("the operator is not ready: %d pods, %d new, %d ready", d.Status.Replicas, d.Status.UpdatedReplicas, d.Status.ReadyReplicas)
		}
		return ""
	})
}

func operatorDeployment(meta metav1.ObjectMeta) *appsv1.Deployment {
	labels := map[string]string{"app.kubernetes.io/name": operatorName}
	user := int64(65532)
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt(8082)}}, PeriodSeconds: 2}
	}
	return &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels}, Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Template: corev1.PodTemplateSpec{
				// Another run has another image of the same name.
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"millrace.test/run": time.Now().UTC().Format(time.RFC3339)}},
				Spec: corev1.PodSpec{
					ServiceAccountName: operatorName,
					SecurityContext:    &corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
					Affinity:           notOn(world.doomed),
					Containers: []corev1.Container{{
						Name: "operator", Image: operatorImage, ReadinessProbe: probe("/readyz"), LivenessProbe: probe("/healthz"),
						SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
					}},
				},
			},
		},
	}
}

// restricted are the labels of a namespace in which pods may do as little as can be.
var restricted = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}

func notOn(node string) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpNotIn, Values: []string{node}}},
	}}}}}
}

func applyFile(ctx context.Context, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &u.Object); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := apply(ctx, u); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if u.GetKind() != "CustomResourceDefinition" {
		return nil
	}
	return await(ctx, func() string {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := world.client.Get(ctx, client.ObjectKeyFromObject(u), &crd); err != nil {
			return err.Error()
		}
		for _, c := range crd.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return ""
			}
		}
		return crd.Name + " is not established"
	})
}

// apply makes an object as it is here.
func apply(ctx context.Context, o client.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: fields}
	delete(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "creationTimestamp")
	return world.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("e2e"), client.ForceOwnership)
}

// await looks again and again whether nothing is lacking, and returns what was in the end.
func await(ctx context.Context, look func() (lacks string)) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		lacks := look()
		if lacks == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it was waited in vain: %s", lacks)
		case <-again.C:
		}
	}
}

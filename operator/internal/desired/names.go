// Package desired makes the objects of an application of what its StreamsApplication says. Nothing here asks a cluster: the same spec
// gives the same objects.
package desired

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// Labels and annotations of the operator.
const (
	ApplicationLabel = "millrace.dev/application" // on all objects of an application: its name
	RevisionLabel    = "millrace.dev/revision"    // on a pod: what it is made of
	JobLabel         = "millrace.dev/job"         // on a job and its pod: what it is for
	ResetAnnotation  = "millrace.dev/reset"       // on a StreamsApplication: the reset for which it is stopped
)

// Owner is the field manager of what the operator applies.
const Owner = "millrace-operator"

// Container is the program's container.
const Container = "app"

// Port is where the program serves health, status and steering.
const Port = 8080

// The StatefulSet of an application, its service, its budget and its service account are named as the application is.

// TokenSecret is the secret with the token for steering.
func TokenSecret(app string) string { return app + "-http" }

// TopologyConfigMap keeps the topology that runs.
func TopologyConfigMap(app string) string { return app + "-topology" }

// CheckJob asks a revision whether it can go on.
func CheckJob(app, revision string) string { return app + "-check-" + revision }

// ResetJob plans a reset, or runs it.
func ResetJob(reset, mode string) string { return reset + "-" + mode }

// Selector selects an application's pods, and not those of its jobs.
func Selector(app string) map[string]string {
	return map[string]string{ApplicationLabel: app, "app.kubernetes.io/component": "streams"}
}

func labels(app *v1alpha1.StreamsApplication) map[string]string {
	return map[string]string{
		ApplicationLabel: app.Name, "app.kubernetes.io/name": app.Name, "app.kubernetes.io/managed-by": "millrace-operator", "app.kubernetes.io/part-of": app.Spec.ApplicationID,
	}
}

func meta(app *v1alpha1.StreamsApplication, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: app.Namespace, Labels: labels(app),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(app, kind)},
	}
}

var kind = schema.GroupVersionKind{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: "StreamsApplication"}

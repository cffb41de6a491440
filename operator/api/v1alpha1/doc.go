// Package v1alpha1 has the kinds of the group millrace.dev: [StreamsApplication] and [StreamsReset]. SQLPipeline is to come, and takes
// its place here. Their fields' comments are what `kubectl explain` shows.
//
// +kubebuilder:object:generate=true
// +groupName=millrace.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and its version.
var GroupVersion = schema.GroupVersion{Group: "millrace.dev", Version: "v1alpha1"}

// AddToScheme makes the kinds known to a client.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &StreamsApplication{}, &StreamsApplicationList{}, &StreamsReset{}, &StreamsResetList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// Package v1alpha1 has the kinds of the group millrace.dev: [StreamsApplication] and [StreamsReset]. SQLPipeline is to come, and takes
// its place here. Their fields' comments are what `kubectl explain` shows.
//
// +kubebuilder:object:generate=true
// +groupName=millrace.dev
package v1alpha1

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/scheme"
)

// GroupVersion is the group and its version.
var GroupVersion = schema.GroupVersion{Group: "millrace.dev", Version: "v1alpha1"}

var builder = &scheme.Builder{GroupVersion: GroupVersion}

// AddToScheme makes the kinds known to a client.
var AddToScheme = builder.AddToScheme

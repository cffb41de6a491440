package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// StreamsReset takes an application back to the beginning of its input, once: its pods are stopped, offsets are set, internal topics and
// volumes are deleted, and it starts again. It first plans; it does nothing until execute is true.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sreset,categories=streams
// +kubebuilder:printcolumn:name="Application",type=string,JSONPath=`.spec.application`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type StreamsReset struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   StreamsResetSpec   `json:"spec"`
	Status StreamsResetStatus `json:"status,omitempty"`
}

// StreamsResetList is a list of resets.
//
// +kubebuilder:object:root=true
type StreamsResetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []StreamsReset `json:"items"`
}

// StreamsResetSpec is what shall be done. Only execute can be changed, from false to true.
//
// +kubebuilder:validation:XValidation:rule="self.application == oldSelf.application && self.to == oldSelf.to && self.deleteOutputTopics == oldSelf.deleteOutputTopics && self.deleteVolumes == oldSelf.deleteVolumes",message="a reset cannot be changed, only executed; make another one"
// +kubebuilder:validation:XValidation:rule="self.execute || !oldSelf.execute",message="a reset that is executed cannot be taken back"
type StreamsResetSpec struct {
	// Application is the name of a StreamsApplication of the same namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	Application string `json:"application"`
	// To is where offsets of input topics are set: earliest, latest, a time (2026-01-31T13:45:00Z), or a duration ago (PT1H).
	// +kubebuilder:default=earliest
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^(earliest|latest|P[0-9DTHMS.]+|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)?)$`
	To string `json:"to,omitempty"`
	// DeleteOutputTopics also deletes the topics that the application writes.
	// +kubebuilder:default=false
	DeleteOutputTopics bool `json:"deleteOutputTopics"`
	// DeleteVolumes deletes the pods' volumes. If they stay, each pod deletes what is out of date by itself.
	// +kubebuilder:default=true
	DeleteVolumes bool `json:"deleteVolumes"`
	// Execute does what was planned.
	// +kubebuilder:default=false
	Execute bool `json:"execute"`
}

// StreamsResetStatus is how far it is.
type StreamsResetStatus struct {
	ObservedGeneration int64      `json:"observedGeneration,omitempty"`
	Phase              ResetPhase `json:"phase,omitempty"`
	Message            string     `json:"message,omitempty"`
	// Plan is what it would do, or did.
	Plan      string       `json:"plan,omitempty"`
	Started   *metav1.Time `json:"started,omitempty"`
	Completed *metav1.Time `json:"completed,omitempty"`
}

// ResetPhase is how far a reset is.
type ResetPhase string

// The phases of a reset.
const (
	ResetPlanning ResetPhase = "Planning"
	ResetPlanned  ResetPhase = "Planned" // waits for execute
	ResetStopping ResetPhase = "Stopping"
	ResetRunning  ResetPhase = "Running"
	ResetDone     ResetPhase = "Done"
	ResetFailed   ResetPhase = "Failed"
)

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// StreamsApplicationStatus is what an application is, when the operator last looked.
type StreamsApplicationStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Phase sums the conditions up.
	Phase Phase `json:"phase,omitempty"`
	// Message is what matters most now: what is waited for, or what is wrong and what helps.
	Message string `json:"message,omitempty"`

	Replicas        int32  `json:"replicas,omitempty"`
	ReadyReplicas   int32  `json:"readyReplicas,omitempty"`
	UpdatedReplicas int32  `json:"updatedReplicas,omitempty"`
	DesiredReplicas int32  `json:"desiredReplicas,omitempty"` // spec.replicas, or what the autoscaler says
	ReadySummary    string `json:"readySummary,omitempty"`
	Selector        string `json:"selector,omitempty"`

	Revisions Revisions       `json:"revisions,omitempty"`
	Topology  *TopologyStatus `json:"topology,omitempty"`
	Group     *GroupStatus    `json:"group,omitempty"`
	Lag       *LagStatus      `json:"lag,omitempty"`
	State     *StateStatus    `json:"state,omitempty"`
	// Instances are the pods, by ordinal; at most 64.
	// +kubebuilder:validation:MaxItems=64
	Instances  []Instance        `json:"instances,omitempty"`
	Autoscaler *AutoscalerStatus `json:"autoscaler,omitempty"`
	// Departing are pods that were taken away for good, and whose places in the group are still to be given up.
	Departing []string `json:"departing,omitempty"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Phase sums an application's conditions up.
type Phase string

// The phases.
const (
	PhasePending   Phase = "Pending"   // pods start
	PhaseRestoring Phase = "Restoring" // pods run, and restore their state
	PhaseRunning   Phase = "Running"
	PhaseUpdating  Phase = "Updating" // pods are replaced
	PhaseScaling   Phase = "Scaling"  // pods are added or taken away
	PhasePaused    Phase = "Paused"
	PhaseStopped   Phase = "Stopped"
	PhaseResetting Phase = "Resetting"
	PhaseDegraded  Phase = "Degraded" // it works, and something is wrong: see the conditions
	PhaseFailed    Phase = "Failed"   // it does not work, and waiting does not help
)

// Revisions name what pods are made of.
type Revisions struct {
	Current    string `json:"current,omitempty"`    // of the StatefulSet
	Wanted     string `json:"wanted,omitempty"`     // of the spec
	LastStable string `json:"lastStable,omitempty"` // that all pods had, for a while
	Failed     string `json:"failed,omitempty"`     // that was rolled back or paused; the spec must change
	// FailedWhy says why.
	FailedWhy string `json:"failedWhy,omitempty"`
}

// TopologyStatus is what the pods say of the topology.
type TopologyStatus struct {
	Hash              string   `json:"hash"`
	Subtopologies     int32    `json:"subtopologies"`
	Tasks             int32    `json:"tasks"` // 0: not known yet
	Stores            int32    `json:"stores"`
	MaxUsefulReplicas int32    `json:"maxUsefulReplicas,omitempty"`
	SourceTopics      []string `json:"sourceTopics,omitempty"`
}

// GroupStatus is the group, as the pods know it.
type GroupStatus struct {
	ID string `json:"id"`
	// Stable is whether all pods that shall run do, and no task has moved since StableSince.
	Stable      bool         `json:"stable"`
	StableSince *metav1.Time `json:"stableSince,omitempty"`
}

// LagStatus is how far the application is behind its input.
type LagStatus struct {
	Total         int64  `json:"total"`        // records
	MaxPartition  int64  `json:"maxPartition"` // records
	Partition     string `json:"partition,omitempty"`
	Seconds       string `json:"seconds,omitempty"`       // at the rate at which records come
	RatePerSecond string `json:"ratePerSecond,omitempty"` // records that are processed
}

// StateStatus is the application's state.
type StateStatus struct {
	RestoringTasks   int32 `json:"restoringTasks"`
	RestoreRemaining int64 `json:"restoreRemaining"` // offsets
	StandbyMaxLag    int64 `json:"standbyMaxLag"`    // offsets
	StoreBytes       int64 `json:"storeBytes"`       // on disk, of all copies
}

// Instance is a pod.
type Instance struct {
	Pod              string `json:"pod"`
	Node             string `json:"node,omitempty"`
	State            string `json:"state"` // as the program says, or what keeps it from saying so
	Ready            bool   `json:"ready"`
	Revision         string `json:"revision,omitempty"`
	Active           int32  `json:"active"`
	Standby          int32  `json:"standby"`
	Restoring        int32  `json:"restoring"`
	RestoreRemaining int64  `json:"restoreRemaining"`
	Draining         bool   `json:"draining,omitempty"`
}

// AutoscalerStatus is what the autoscaler found.
type AutoscalerStatus struct {
	// Recommended is the number of pods it finds right.
	Recommended int32 `json:"recommended"`
	// Wanted is the number that it has decided on, with mode Auto.
	Wanted int32 `json:"wanted,omitempty"`
	// Reason is how it came to that.
	Reason      string       `json:"reason,omitempty"`
	LastScaled  *metav1.Time `json:"lastScaled,omitempty"`
	Utilization string       `json:"utilization,omitempty"`
	// History are the last decisions, newest first.
	// +kubebuilder:validation:MaxItems=5
	History []ScalingDecision `json:"history,omitempty"`
}

// ScalingDecision is a step of the autoscaler.
type ScalingDecision struct {
	Time   metav1.Time `json:"time"`
	From   int32       `json:"from"`
	To     int32       `json:"to"`
	Reason string      `json:"reason"`
}

// Types of conditions.
const (
	ConditionReady              = "Ready"              // all pods run and are restored
	ConditionProgressing        = "Progressing"        // an update or a change of scale is under way, or why it stopped
	ConditionConfigValid        = "ConfigValid"        // what the spec names is there
	ConditionTopologyCompatible = "TopologyCompatible" // the image can go on where the pods are
	ConditionStorageReady       = "StorageReady"       // volumes are bound, and as large as the spec says
	ConditionReplicasUseful     = "ReplicasUseful"     // there are tasks for all pods, and pods for all standbys
	ConditionScalingActive      = "ScalingActive"      // the autoscaler works
)

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// StreamsApplication is an application of Millrace: a program of package pod, run as a StatefulSet whose pods are replaced, added and
// taken away with regard to their state.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:shortName=sapp,categories=streams
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.readySummary`
// +kubebuilder:printcolumn:name="Lag",type=integer,JSONPath=`.status.lag.total`
// +kubebuilder:printcolumn:name="Restoring",type=integer,JSONPath=`.status.state.restoringTasks`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revisions.current`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Image",type=string,priority=1,JSONPath=`.spec.image`
// +kubebuilder:printcolumn:name="Tasks",type=integer,priority=1,JSONPath=`.status.topology.tasks`
// +kubebuilder:printcolumn:name="Standby-Lag",type=integer,priority=1,JSONPath=`.status.state.standbyMaxLag`
// +kubebuilder:printcolumn:name="Desired",type=integer,priority=1,JSONPath=`.status.desiredReplicas`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 45",message="a name has at most 45 characters: its pods' names are made of it"
type StreamsApplication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   StreamsApplicationSpec   `json:"spec"`
	Status StreamsApplicationStatus `json:"status,omitempty"`
}

// StreamsApplicationList is a list of applications.
//
// +kubebuilder:object:root=true
type StreamsApplicationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []StreamsApplication `json:"items"`
}

// StreamsApplicationSpec is what an application shall be.
//
// +kubebuilder:validation:XValidation:rule="!has(self.autoscaling) || !has(self.autoscaling.mode) || self.autoscaling.mode != 'Auto' || has(self.autoscaling.maxReplicas)",message="autoscaling.mode Auto needs autoscaling.maxReplicas"
type StreamsApplicationSpec struct {
	// ApplicationID is the application's name on the cluster of Kafka: that of its group, and the prefix of its topics. It cannot be
	// changed; make another application instead.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9._-]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="applicationID cannot be changed: state and offsets are kept under it; make another application"
	ApplicationID string `json:"applicationID"`

	// Image has the program.
	// +kubebuilder:validation:MinLength=1
	Image string `json:"image"`
	// Command replaces the image's entrypoint.
	Command []string `json:"command,omitempty"`
	// Args are the program's arguments.
	Args []string `json:"args,omitempty"`
	// Env are more variables of the program's environment.
	Env []corev1.EnvVar `json:"env,omitempty"`
	// EnvFrom are sources of more variables.
	EnvFrom []corev1.EnvFromSource `json:"envFrom,omitempty"`
	// Resources are what each pod asks for and may take. Of the memory limit the program makes its budget.
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`

	// Replicas is the number of pods. With autoscaling.mode Auto it is where the autoscaler begins.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=1
	Replicas *int32 `json:"replicas,omitempty"`
	// DesiredState is Running, Paused (the pods stay, with their standbys, and process nothing) or Stopped (no pods; volumes stay).
	// +kubebuilder:default=Running
	DesiredState DesiredState `json:"desiredState,omitempty"`
	// RestartNonce restarts the pods, through the same gates as an update, when it is changed.
	RestartNonce int64 `json:"restartNonce,omitempty"`

	// Kafka is the cluster.
	Kafka KafkaSpec `json:"kafka"`
	// Streams is how the application works.
	// +kubebuilder:default={}
	Streams StreamsSpec `json:"streams,omitempty"`
	// State is where it keeps its stores.
	// +kubebuilder:default={}
	State StateSpec `json:"state,omitempty"`
	// Update is how pods are replaced.
	// +kubebuilder:default={}
	Update UpdateSpec `json:"update,omitempty"`
	// Autoscaling is how the number of pods is found.
	// +kubebuilder:default={}
	Autoscaling AutoscalingSpec `json:"autoscaling,omitempty"`

	// Spread is Default (over zones and nodes, as far as possible) or None (podTemplate can say better).
	// +kubebuilder:validation:Enum=Default;None
	// +kubebuilder:default=Default
	Spread string `json:"spread,omitempty"`
	// TerminationGracePeriod is how long a pod may take to commit and stop, at least 20s. The program has 10s less than that.
	// +kubebuilder:default="120s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('20s')",message="terminationGracePeriod is at least 20s"
	TerminationGracePeriod metav1.Duration `json:"terminationGracePeriod,omitzero"`
	// PodTemplate is merged over the pods that are made, as a strategic merge patch of a PodTemplateSpec; the program's container is
	// named app.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	PodTemplate *runtime.RawExtension `json:"podTemplate,omitempty"`
}

// DesiredState is what an application shall be doing.
//
// +kubebuilder:validation:Enum=Running;Paused;Stopped
type DesiredState string

// The states.
const (
	DesiredRunning DesiredState = "Running"
	DesiredPaused  DesiredState = "Paused"
	DesiredStopped DesiredState = "Stopped"
)

// KafkaSpec says how to reach Kafka.
type KafkaSpec struct {
	// BootstrapServers are brokers, as host:port.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:Pattern=`^[^\s,]+:[0-9]+$`
	BootstrapServers []string `json:"bootstrapServers"`
	// TLS connects with TLS.
	TLS *KafkaTLS `json:"tls,omitempty"`
	// SASL authenticates with a name and a password.
	SASL *KafkaSASL `json:"sasl,omitempty"`
	// Config are more configs of clients, by their Java names. The program logs those that it does not know.
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[a-z0-9.]+$'))",message="names of configs are lower case, with dots"
	// +kubebuilder:validation:XValidation:rule="!('bootstrap.servers' in self) && !('group.instance.id' in self) && !('application.id' in self)",message="applicationID, kafka.bootstrapServers and streams.membership say that"
	// +kubebuilder:validation:MaxProperties=100
	Config map[string]string `json:"config,omitempty"`
}

// KafkaTLS is how TLS is used.
type KafkaTLS struct {
	// CASecretRef is the authority that signs the brokers' certificates, as PEM; that of the image if it is not there.
	CASecretRef *KeyRef `json:"caSecretRef,omitempty"`
	// CertSecretRef is a secret of type kubernetes.io/tls with the program's own certificate.
	CertSecretRef *corev1.LocalObjectReference `json:"certSecretRef,omitempty"`
}

// KeyRef is a key of a secret.
type KeyRef struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// +kubebuilder:default=ca.crt
	Key string `json:"key,omitempty"`
}

// KafkaSASL is how SASL is used.
type KafkaSASL struct {
	// +kubebuilder:validation:Enum=PLAIN;SCRAM-SHA-256;SCRAM-SHA-512
	Mechanism string `json:"mechanism"`
	// SecretRef has the name and the password.
	SecretRef CredentialsRef `json:"secretRef"`
}

// CredentialsRef is a secret with a name and a password.
type CredentialsRef struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// +kubebuilder:default=username
	UsernameKey string `json:"usernameKey,omitempty"`
	// +kubebuilder:default=password
	PasswordKey string `json:"passwordKey,omitempty"`
}

// StreamsSpec is how an application works. What is not said is as Kafka Streams has it.
type StreamsSpec struct {
	// Threads is the number of workers of a pod (num.stream.threads); as many as it has processors if it is not said.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Threads *int32 `json:"threads,omitempty"`
	// +kubebuilder:validation:Enum=at_least_once;exactly_once_v2
	// +kubebuilder:default=at_least_once
	ProcessingGuarantee string `json:"processingGuarantee,omitempty"`
	// Membership is Static (a pod that restarts within the session timeout is the same member, and no task moves) or Dynamic.
	// +kubebuilder:validation:Enum=Static;Dynamic
	// +kubebuilder:default=Static
	Membership string `json:"membership,omitempty"`
	// SessionTimeout is how long a pod may be silent before its tasks go to others.
	// +kubebuilder:default="45s"
	SessionTimeout metav1.Duration `json:"sessionTimeout,omitzero"`
	// StandbyReplicas is the number of further copies of each task's stores.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	// +kubebuilder:default=0
	StandbyReplicas int32 `json:"standbyReplicas,omitempty"`
	// AcceptableRecoveryLag is the lag, in offsets, below which a copy counts as caught up.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:default=10000
	AcceptableRecoveryLag int64 `json:"acceptableRecoveryLag,omitempty"`
	// Config are more configs of Kafka Streams, by their Java names. The program logs those that it does not know.
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[a-z0-9._]+$'))",message="names of configs are lower case, with dots"
	// +kubebuilder:validation:XValidation:rule="!('application.id' in self) && !('state.dir' in self) && !('num.standby.replicas' in self) && !('num.stream.threads' in self) && !('processing.guarantee' in self) && !('acceptable.recovery.lag' in self) && !('application.server' in self)",message="the fields of this object say that"
	// +kubebuilder:validation:MaxProperties=100
	Config map[string]string `json:"config,omitempty"`
}

// StateSpec is where stores are kept.
type StateSpec struct {
	// +kubebuilder:default={type: Ephemeral}
	Storage StorageSpec `json:"storage,omitempty"`
}

// StorageSpec is a pod's disk.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'PersistentVolume' || has(self.size)",message="storage of type PersistentVolume needs a size"
// +kubebuilder:validation:XValidation:rule="self.type == oldSelf.type",message="storage.type cannot be changed: make another application"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.size) || !isQuantity(oldSelf.size) || (has(self.size) && isQuantity(self.size) && quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0)",message="a volume cannot shrink"
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="storageClassName cannot be changed: make another application"
type StorageSpec struct {
	// Type is PersistentVolume (kept when the pod is replaced) or Ephemeral (gone with the pod).
	// +kubebuilder:validation:Enum=PersistentVolume;Ephemeral
	// +kubebuilder:default=Ephemeral
	Type string `json:"type,omitempty"`
	// Size of each pod's disk, as 20Gi. That of a volume can grow, where its class allows it.
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",message="size is a quantity, as 20Gi"
	Size string `json:"size,omitempty"`
	// StorageClassName of the volumes; the cluster's default if it is not said.
	// +kubebuilder:validation:MaxLength=253
	StorageClassName string `json:"storageClassName,omitempty"`
	// WhenScaled is what becomes of the volume of a pod that is taken away for good.
	// +kubebuilder:validation:Enum=Retain;Delete
	// +kubebuilder:default=Retain
	WhenScaled string `json:"whenScaled,omitempty"`
	// WhenDeleted is what becomes of the volumes when the application is deleted.
	// +kubebuilder:validation:Enum=Retain;Delete
	// +kubebuilder:default=Delete
	WhenDeleted string `json:"whenDeleted,omitempty"`
}

// Kinds of storage.
const (
	PersistentVolume = "PersistentVolume"
	Ephemeral        = "Ephemeral"
)

// UpdateSpec is how pods are replaced: one at a time, each when the others have what it holds.
type UpdateSpec struct {
	// GroupStableFor is how long no task may have moved before the next pod is taken, and after the last before the revision counts as stable.
	// +kubebuilder:default="30s"
	GroupStableFor metav1.Duration `json:"groupStableFor,omitzero"`
	// PodDeadline is how long a replaced pod may take until it is ready and restored.
	// +kubebuilder:default="15m"
	PodDeadline metav1.Duration `json:"podDeadline,omitzero"`
	// OnFailure is Rollback (to the last stable revision) or Pause, when a replaced pod has not become ready by the deadline or keeps crashing.
	// +kubebuilder:validation:Enum=Rollback;Pause
	// +kubebuilder:default=Rollback
	OnFailure string `json:"onFailure,omitempty"`
	// TopologyChange is Block (an image whose topology cannot go on with the tasks and the state is refused before a pod is
	// touched) or Recreate (all pods are stopped first, and what the new topology does not know is left behind).
	// +kubebuilder:validation:Enum=Block;Recreate
	// +kubebuilder:default=Block
	TopologyChange string `json:"topologyChange,omitempty"`
}

// AutoscalingSpec is how the number of pods is found.
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",message="minReplicas is above maxReplicas"
type AutoscalingSpec struct {
	// Mode is Off, Recommend (status and events say what it would do), Auto, or External (an HPA or KEDA writes spec.replicas through the
	// scale subresource).
	// +kubebuilder:validation:Enum=Off;Recommend;Auto;External
	// +kubebuilder:default=Off
	Mode string `json:"mode,omitempty"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=1
	MinReplicas int32 `json:"minReplicas,omitempty"`
	// MaxReplicas bounds it, as the number of tasks does.
	// +kubebuilder:validation:Minimum=1
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`
	// TargetUtilization is the part of their time, in percent, in which workers shall process. It acts 20 below and above.
	// +kubebuilder:validation:Minimum=25
	// +kubebuilder:validation:Maximum=80
	// +kubebuilder:default=65
	TargetUtilization int32 `json:"targetUtilization,omitempty"`
	// MaxLatency is the lag, in time, above which it scales up whatever the utilisation.
	// +kubebuilder:default="60s"
	MaxLatency metav1.Duration `json:"maxLatency,omitzero"`
	// CatchUp is the time in which a lag shall be worked off.
	// +kubebuilder:default="15m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s')",message="catchUp is at least 10s"
	CatchUp metav1.Duration `json:"catchUp,omitzero"`
	// Window is the time over which it measures, and for which the need must last.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s')",message="window is at least 10s"
	Window metav1.Duration `json:"window,omitzero"`
	// +kubebuilder:default={cooldown: "2m", maxStep: 4}
	ScaleUp ScalingRule `json:"scaleUp,omitempty"`
	// +kubebuilder:default={cooldown: "30m", maxStep: 1}
	ScaleDown ScalingRule `json:"scaleDown,omitempty"`
}

// Modes of the autoscaler.
const (
	ScalingOff       = "Off"
	ScalingRecommend = "Recommend"
	ScalingAuto      = "Auto"
	ScalingExternal  = "External"
)

// ScalingRule bounds the steps in one direction.
type ScalingRule struct {
	// Cooldown is the time after a step, of either direction, in which there is none.
	// +kubebuilder:default="2m"
	Cooldown metav1.Duration `json:"cooldown,omitzero"`
	// MaxStep is the number of pods of a step.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=1
	MaxStep int32 `json:"maxStep,omitempty"`
}

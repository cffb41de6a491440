package controller

// What the operator may do, no more: it can read one secret at a time, and does not list them.
//
//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0 rbac:roleName=millrace-operator paths=. output:rbac:dir=../../rbac
//
// +kubebuilder:rbac:groups=millrace.dev,resources=streamsapplications;streamsresets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=millrace.dev,resources=streamsapplications/status;streamsresets/status,verbs=update
// +kubebuilder:rbac:groups=millrace.dev,resources=streamsapplications/finalizers;streamsresets/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods/eviction,verbs=create
// +kubebuilder:rbac:groups="",resources=services;serviceaccounts;configmaps,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

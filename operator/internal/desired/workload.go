package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// volume is the name of the pod's disk.
const volume = "state"

// Claim is the name of a pod's claim of a volume.
func Claim(pod string) string { return volume + "-" + pod }

// Template is the pod of an application, with the revision that names it in a label. An error is one of spec.podTemplate.
func Template(app *v1alpha1.StreamsApplication) (corev1.PodTemplateSpec, error) {
	t := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels(app)}, Spec: podSpec(app)}
	t.Labels["app.kubernetes.io/component"] = "streams"
	if app.Spec.RestartNonce != 0 {
		t.Annotations = map[string]string{"millrace.dev/restart": strconv.FormatInt(app.Spec.RestartNonce, 10)}
	}
	if patch := app.Spec.PodTemplate; patch != nil && len(patch.Raw) > 0 {
		if err := merge(&t, patch.Raw); err != nil {
			return t, fmt.Errorf("spec.podTemplate is no pod template: %w", err)
		}
	}
	text, err := json.Marshal(t)
	if err != nil {
		return t, err
	}
	sum := sha256.Sum256(text)
	t.Labels[RevisionLabel] = hex.EncodeToString(sum[:5])
	return t, nil
}

func merge(t *corev1.PodTemplateSpec, patch []byte) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	merged, err := strategicpatch.StrategicMergePatch(text, patch, corev1.PodTemplateSpec{})
	if err != nil {
		return err
	}
	*t = corev1.PodTemplateSpec{}
	return json.Unmarshal(merged, t)
}

func podSpec(app *v1alpha1.StreamsApplication) corev1.PodSpec {
	c := corev1.Container{
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Name:                     Container, Image: app.Spec.Image, Command: app.Spec.Command, Args: app.Spec.Args, EnvFrom: app.Spec.EnvFrom, Resources: app.Spec.Resources,
		Env:             together(connection(app), working(app), app.Spec.Env),
		Ports:           []corev1.ContainerPort{{Name: "http", ContainerPort: Port, Protocol: corev1.ProtocolTCP}},
		VolumeMounts:    []corev1.VolumeMount{{Name: volume, MountPath: stateDir}, {Name: "tmp", MountPath: "/tmp"}},
		SecurityContext: restrictedContainer(),
		// A restore may take hours: it is seen to go on in the status. What kills a pod is an application that has failed.
		StartupProbe:   probe("/livez", 2, 30),
		LivenessProbe:  probe("/livez", 10, 3),
		ReadinessProbe: probe("/readyz", 2, 1),
	}
	s := corev1.PodSpec{
		ServiceAccountName: app.Name, AutomountServiceAccountToken: new(false), SecurityContext: restrictedPod(),
		TerminationGracePeriodSeconds: new(int64(app.Spec.TerminationGracePeriod.Seconds())),
		Containers:                    []corev1.Container{c},
		Volumes:                       []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
	if app.Spec.State.Storage.Type != v1alpha1.PersistentVolume {
		s.Volumes = append(s.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: size(app)}}})
	}
	if app.Spec.Spread != "None" {
		spread(&s, &metav1.LabelSelector{MatchLabels: Selector(app.Name)})
	}
	return s
}

// spread has pods on different nodes and in different zones, as far as possible. The nodes are not one more constraint of the topology:
// where nodes have no zones, the scheduler would leave both aside.
func spread(s *corev1.PodSpec, pods *metav1.LabelSelector) {
	s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: pods,
	}}
	s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
		Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: corev1.LabelHostname, LabelSelector: pods},
	}}}}
}

func size(app *v1alpha1.StreamsApplication) *resource.Quantity {
	q, err := resource.ParseQuantity(app.Spec.State.Storage.Size)
	if err != nil { // not said
		return nil
	}
	return &q
}

func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}},
		PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 5,
	}
}

// user is that of the images that are made for nobody in particular.
const user = 65532

func restrictedPod() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(user)), RunAsGroup: new(int64(user)), FSGroup: new(int64(user)),
		FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func restrictedContainer() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// StatefulSet runs so many pods of a template. They start together, so that all join in one rebalance, and none is replaced but by
// the operator.
func StatefulSet(app *v1alpha1.StreamsApplication, template corev1.PodTemplateSpec, replicas int32) *appsv1.StatefulSet {
	set := &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: meta(app, app.Name),
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: app.Name, Selector: &metav1.LabelSelector{MatchLabels: Selector(app.Name)}, Template: template,
			PodManagementPolicy: appsv1.ParallelPodManagement, UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			RevisionHistoryLimit: new(int32(5)),
		},
	}
	storage := app.Spec.State.Storage
	if storage.Type != v1alpha1.PersistentVolume {
		return set
	}
	claim := corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Name: volume, Labels: map[string]string{ApplicationLabel: app.Name}},
		Spec:       corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}},
	}
	if q := size(app); q != nil {
		claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *q}
	}
	if storage.StorageClassName != "" {
		claim.Spec.StorageClassName = &storage.StorageClassName
	}
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim}
	set.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
		WhenScaled: appsv1.PersistentVolumeClaimRetentionPolicyType(storage.WhenScaled), WhenDeleted: appsv1.PersistentVolumeClaimRetentionPolicyType(storage.WhenDeleted),
	}
	return set
}

// Secrets are the names of the secrets that a spec names, each with the keys it needs.
func Secrets(app *v1alpha1.StreamsApplication) map[string][]string {
	needed := make(map[string][]string)
	add := func(name string, keys ...string) {
		for _, k := range keys {
			if !slices.Contains(needed[name], k) {
				needed[name] = append(needed[name], k)
			}
		}
	}
	if t := app.Spec.Kafka.TLS; t != nil {
		if t.CASecretRef != nil {
			add(t.CASecretRef.Name, t.CASecretRef.Key)
		}
		if t.CertSecretRef != nil {
			add(t.CertSecretRef.Name, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
		}
	}
	if s := app.Spec.Kafka.SASL; s != nil {
		add(s.SecretRef.Name, s.SecretRef.UsernameKey, s.SecretRef.PasswordKey)
	}
	for _, v := range app.Spec.Env {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil && (v.ValueFrom.SecretKeyRef.Optional == nil || !*v.ValueFrom.SecretKeyRef.Optional) {
			add(v.ValueFrom.SecretKeyRef.Name, v.ValueFrom.SecretKeyRef.Key)
		}
	}
	return needed
}

package desired

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// Service gives each pod a name, also while it is not ready: standbys are read then.
func Service(app *v1alpha1.StreamsApplication) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(app, app.Name),
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true, Selector: Selector(app.Name),
			Ports: []corev1.ServicePort{{Name: "http", Port: Port, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP}},
		},
	}
}

// ServiceAccount is one that may do nothing.
func ServiceAccount(app *v1alpha1.StreamsApplication) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: meta(app, app.Name), AutomountServiceAccountToken: new(false),
	}
}

// Budget lets nobody take two pods at once, a task's owner and its standby; those that do not work can always be taken.
func Budget(app *v1alpha1.StreamsApplication) *policyv1.PodDisruptionBudget {
	one := intstr.FromInt32(1)
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: meta(app, app.Name),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: Selector(app.Name)}, UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
		},
	}
}

// TopologyMap keeps the outline of the topology that runs, for the check of the next.
func TopologyMap(app *v1alpha1.StreamsApplication, outline string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: meta(app, TopologyConfigMap(app.Name)), Data: map[string]string{"topology.json": outline},
	}
}

// Check is a job in which the program of a template says whether its topology can go on where the one in TopologyMap is. It is told
// nothing about Kafka.
func Check(app *v1alpha1.StreamsApplication, template corev1.PodTemplateSpec) *batchv1.Job {
	const dir = "/etc/millrace/topology"
	j := job(app, CheckJob(app.Name, template.Labels[RevisionLabel]), "check", template)
	s := &j.Spec.Template.Spec
	c := program(s)
	c.Env = together(app.Spec.Env, []corev1.EnvVar{value("MILLRACE_TOPOLOGY_CHECK", dir+"/topology.json")})
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "topology", MountPath: dir})
	s.Volumes = append(s.Volumes, corev1.Volume{Name: "topology", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: TopologyConfigMap(app.Name)}},
	}})
	j.Spec.BackoffLimit = new(int32(0)) // it answers the same each time
	return j
}

// Reset is a job in which the program of a template plans the reset of its own application, or runs it.
func Reset(app *v1alpha1.StreamsApplication, template corev1.PodTemplateSpec, r *v1alpha1.StreamsReset, mode string) *batchv1.Job {
	j := job(app, ResetJob(r.Name, mode), "reset", template)
	j.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(r, v1alpha1.GroupVersion.WithKind("StreamsReset"))}
	env := []corev1.EnvVar{value("MILLRACE_RESET", mode), value("MILLRACE_RESET_TO", r.Spec.To), value("MILLRACE_RESET_FORCE", "true")}
	if r.Spec.DeleteOutputTopics {
		env = append(env, value("MILLRACE_RESET_OUTPUTS", "true"))
	}
	c := program(&j.Spec.Template.Spec)
	c.Env = together(connection(app), configs(app.Spec.Streams.Config), app.Spec.Env, env)
	j.Spec.BackoffLimit = new(int32(2))
	return j
}

// job runs a template's program once, without a disk, for something else than processing.
func job(app *v1alpha1.StreamsApplication, name, what string, template corev1.PodTemplateSpec) *batchv1.Job {
	t := *template.DeepCopy()
	t.Labels = labels(app)
	t.Labels[JobLabel] = what
	t.Spec.RestartPolicy = corev1.RestartPolicyNever
	t.Spec.TopologySpreadConstraints, t.Spec.Affinity = nil, nil
	var volumes []corev1.Volume
	for _, v := range t.Spec.Volumes {
		if v.Name != volume {
			volumes = append(volumes, v)
		}
	}
	t.Spec.Volumes = append(volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	c := program(&t.Spec)
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe, c.Ports = nil, nil, nil, nil
	j := &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: meta(app, name),
		Spec: batchv1.JobSpec{Template: t, ActiveDeadlineSeconds: new(int64(600)), TTLSecondsAfterFinished: new(int32(24 * 3600))},
	}
	j.Labels[JobLabel] = what
	return j
}

func program(s *corev1.PodSpec) *corev1.Container {
	for i := range s.Containers {
		if s.Containers[i].Name == Container {
			return &s.Containers[i]
		}
	}
	return &s.Containers[0]
}

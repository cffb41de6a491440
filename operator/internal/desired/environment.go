package desired

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// stateDir is where the pod's disk is mounted.
const stateDir = "/var/lib/millrace"

// connection is the environment with which a program reaches Kafka.
func connection(app *v1alpha1.StreamsApplication) []corev1.EnvVar {
	k := app.Spec.Kafka
	env := []corev1.EnvVar{value("KAFKA_APPLICATION_ID", app.Spec.ApplicationID), value("KAFKA_BOOTSTRAP_SERVERS", strings.Join(k.BootstrapServers, ","))}
	switch {
	case k.SASL != nil && k.TLS != nil:
		env = append(env, value("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"))
	case k.SASL != nil:
		env = append(env, value("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"))
	case k.TLS != nil:
		env = append(env, value("KAFKA_SECURITY_PROTOCOL", "SSL"))
	}
	if s := k.SASL; s != nil {
		env = append(env, value("KAFKA_SASL_MECHANISM", s.Mechanism),
			secret("MILLRACE_SASL_USERNAME", s.SecretRef.Name, s.SecretRef.UsernameKey), secret("MILLRACE_SASL_PASSWORD", s.SecretRef.Name, s.SecretRef.PasswordKey))
	}
	if t := k.TLS; t != nil && t.CASecretRef != nil {
		env = append(env, secret("KAFKA_SSL_TRUSTSTORE_CERTIFICATES", t.CASecretRef.Name, t.CASecretRef.Key))
	}
	if t := k.TLS; t != nil && t.CertSecretRef != nil {
		env = append(env, secret("KAFKA_SSL_KEYSTORE_CERTIFICATE_CHAIN", t.CertSecretRef.Name, corev1.TLSCertKey), secret("KAFKA_SSL_KEYSTORE_KEY", t.CertSecretRef.Name, corev1.TLSPrivateKeyKey))
	}
	return append(env, configs(k.Config)...)
}

// working is the environment that says how the application works.
func working(app *v1alpha1.StreamsApplication) []corev1.EnvVar {
	s := app.Spec.Streams
	env := []corev1.EnvVar{
		{Name: "POD_NAME", ValueFrom: field("metadata.name")},
		value("KAFKA_APPLICATION_SERVER", fmt.Sprintf("$(POD_NAME).%s.%s.svc:%d", app.Name, app.Namespace, Port)),
		value("KAFKA_STATE_DIR", stateDir),
		value("KAFKA_PROCESSING_GUARANTEE", s.ProcessingGuarantee),
		value("KAFKA_NUM_STANDBY_REPLICAS", strconv.Itoa(int(s.StandbyReplicas))),
		value("KAFKA_ACCEPTABLE_RECOVERY_LAG", strconv.FormatInt(s.AcceptableRecoveryLag, 10)),
		value("KAFKA_SESSION_TIMEOUT_MS", strconv.FormatInt(s.SessionTimeout.Milliseconds(), 10)),
		value("KAFKA_HEARTBEAT_INTERVAL_MS", strconv.FormatInt(min(3*time.Second, s.SessionTimeout.Duration/3).Milliseconds(), 10)),
		// Kubernetes copies the node's zone to the pod's label from 1.35 on. Where there is none, the program takes it for not said.
		{Name: "KAFKA_CLIENT_TAG_ZONE", ValueFrom: field("metadata.labels['topology.kubernetes.io/zone']")},
		value("KAFKA_RACK_AWARE_ASSIGNMENT_TAGS", "zone"),
		value("MILLRACE_HTTP_ADDRESS", fmt.Sprintf(":%d", Port)),
		secret("MILLRACE_HTTP_TOKEN", TokenSecret(app.Name), "token"),
		value("MILLRACE_SHUTDOWN_TIMEOUT", (app.Spec.TerminationGracePeriod.Duration - 10*time.Second).String()),
		value("MILLRACE_STAY_IN_GROUP", strconv.FormatBool(s.Membership == "Static")),
	}
	if s.Threads != nil {
		env = append(env, value("KAFKA_NUM_STREAM_THREADS", strconv.Itoa(int(*s.Threads))))
	}
	if s.Membership == "Static" {
		env = append(env, value("KAFKA_GROUP_INSTANCE_ID", "$(POD_NAME)"))
	}
	return append(env, configs(s.Config)...)
}

// configs makes variables of configs: max.poll.interval.ms is KAFKA_MAX_POLL_INTERVAL_MS.
func configs(c map[string]string) (env []corev1.EnvVar) {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		env = append(env, value("KAFKA_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_")), c[name]))
	}
	return env
}

// together has each variable once: the last that says so counts.
func together(parts ...[]corev1.EnvVar) (env []corev1.EnvVar) {
	at := make(map[string]int)
	for _, v := range slices.Concat(parts...) {
		if i, ok := at[v.Name]; ok {
			env[i] = v
			continue
		}
		at[v.Name] = len(env)
		env = append(env, v)
	}
	return env
}

func value(name, v string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: v} }

func secret(name, of, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: of}, Key: key}}}
}

func field(path string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}
}

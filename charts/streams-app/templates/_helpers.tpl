{{- define "app.name" -}}
{{ .Values.fullnameOverride | default .Release.Name | trunc 45 | trimSuffix "-" }}
{{- end }}

{{- define "app.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: streams
{{- end }}

{{/* Metadata of an object: a dict of root, and of suffix, component, annotations and labels where there are such. */}}
{{- define "app.metadata" -}}
{{- $ := .root -}}
name: {{ include "app.name" $ }}{{ .suffix }}
labels:
  {{- $labels := dict "app.kubernetes.io/name" $.Chart.Name "app.kubernetes.io/instance" $.Release.Name "app.kubernetes.io/managed-by" $.Release.Service
    "app.kubernetes.io/component" (.component | default "streams") "helm.sh/chart" (printf "%s-%s" $.Chart.Name $.Chart.Version) }}
  {{- toYaml (mergeOverwrite $labels $.Values.labels (.labels | default dict)) | nindent 2 }}
{{- with mergeOverwrite (dict) $.Values.annotations (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A value as a string: large numbers of YAML are no floats. */}}
{{- define "app.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "app.httpSecret" -}}
{{ .Values.http.token.secretRef.name | default (printf "%s-http" (include "app.name" .)) }}
{{- end }}

{{- define "app.httpTokenKey" -}}
{{ if .Values.http.token.secretRef.name }}{{ .Values.http.token.secretRef.key }}{{ else }}token{{ end }}
{{- end }}

{{- define "app.image" -}}
{{ .Values.image }}{{ if .Values.imageDigest }}@{{ .Values.imageDigest }}{{ else }}:{{ include "app.text" .Values.imageTag | default "latest" }}{{ end }}
{{- end }}

{{/* How the program reaches Kafka, as a dict of variables. Secrets are files, so that they are in no environment. */}}
{{- define "app.connection" -}}
{{- $k := .Values.kafka -}}
KAFKA_APPLICATION_ID: {{ $k.applicationId | quote }}
KAFKA_BOOTSTRAP_SERVERS: {{ $k.bootstrapServers | quote }}
{{- if or $k.tls.enabled $k.sasl.mechanism }}
KAFKA_SECURITY_PROTOCOL: {{ if $k.sasl.mechanism }}SASL_{{ end }}{{ $k.tls.enabled | ternary "SSL" "PLAINTEXT" }}
{{- end }}
{{- if $k.sasl.mechanism }}
KAFKA_SASL_MECHANISM: {{ $k.sasl.mechanism }}
MILLRACE_SASL_USERNAME_FILE: /etc/millrace/sasl/username
MILLRACE_SASL_PASSWORD_FILE: /etc/millrace/sasl/password
{{- end }}
{{- if and $k.tls.enabled $k.tls.caSecretRef.name }}
KAFKA_SSL_TRUSTSTORE_CERTIFICATES_FILE: /etc/millrace/ca/ca.crt
{{- end }}
{{- if and $k.tls.enabled $k.tls.certSecretRef.name }}
KAFKA_SSL_KEYSTORE_CERTIFICATE_CHAIN_FILE: /etc/millrace/cert/tls.crt
KAFKA_SSL_KEYSTORE_KEY_FILE: /etc/millrace/cert/tls.key
{{- end }}
{{- range $name, $value := $k.config }}
KAFKA_{{ $name | replace "." "_" | upper }}: {{ include "app.text" $value | quote }}
{{- end }}
{{- end }}

{{/* How the application works, as a dict of variables. */}}
{{- define "app.working" -}}
{{- $s := .Values.streams -}}
KAFKA_STATE_DIR: {{ .Values.kafka.stateDir | quote }}
KAFKA_PROCESSING_GUARANTEE: {{ $s.processingGuarantee }}
KAFKA_NUM_STANDBY_REPLICAS: {{ $s.standbyReplicas | quote }}
{{- if $s.threads }}
KAFKA_NUM_STREAM_THREADS: {{ $s.threads | quote }}
{{- end }}
{{- if .Values.statefulSet }}
KAFKA_APPLICATION_SERVER: {{ printf "$(POD_NAME).%s.%s.svc:%v" (include "app.name" .) .Release.Namespace (.Values.kafka.applicationServerPort | default .Values.http.port) }}
{{- end }}
{{- $static := and .Values.statefulSet .Values.kafka.staticMembership }}
{{- if $static }}
KAFKA_GROUP_INSTANCE_ID: $(POD_NAME)
{{- end }}
MILLRACE_STAY_IN_GROUP: {{ $static | quote }}
{{- if $s.rackAwareness }}
KAFKA_CLIENT_TAG_ZONE: {fieldRef: {apiVersion: v1, fieldPath: "metadata.labels['topology.kubernetes.io/zone']"}}
KAFKA_RACK_AWARE_ASSIGNMENT_TAGS: zone
{{- end }}
MILLRACE_HTTP_ADDRESS: ":{{ .Values.http.port }}"
{{- if .Values.http.token.enabled }}
MILLRACE_HTTP_TOKEN_FILE: /etc/millrace/http/token
{{- end }}
{{- if .Values.http.tls.secretName }}
MILLRACE_HTTP_TLS_CERT: /etc/millrace/http-tls/tls.crt
MILLRACE_HTTP_TLS_KEY: /etc/millrace/http-tls/tls.key
{{- end }}
MILLRACE_SHUTDOWN_TIMEOUT: {{ sub .Values.terminationGracePeriodSeconds 10 }}s
{{- range $name, $value := $s.config }}
KAFKA_{{ $name | replace "." "_" | upper }}: {{ include "app.text" $value | quote }}
{{- end }}
{{- end }}

{{/* Variables of a container: a dict of root and of env, a dict of variables, each a string or a valueFrom. What the values say counts before it. */}}
{{- define "app.env" -}}
{{- $env := .env -}}
{{- range $name, $value := .root.Values.envValueFrom }}{{ $_ := set $env $name $value }}{{ end }}
{{- range $name, $ref := .root.Values.secretRefs }}{{ $_ := set $env $name (dict "secretKeyRef" $ref) }}{{ end }}
{{- range $name, $value := .root.Values.env }}{{ $_ := set $env $name (include "app.text" $value) }}{{ end -}}
{{- $_ := unset $env "POD_NAME" -}}
- {name: POD_NAME, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}
{{- range $name, $value := $env }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  valueFrom: {{ toJson $value }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The secrets that are mounted: a list of dicts of name, secret, path and items. */}}
{{- define "app.secrets" -}}
{{- $k := .Values.kafka -}}
{{- if and $k.tls.enabled $k.tls.caSecretRef.name }}
- {name: ca, path: /etc/millrace/ca, secret: {{ $k.tls.caSecretRef.name }}, items: [{key: {{ $k.tls.caSecretRef.key }}, path: ca.crt}]}
{{- end }}
{{- if and $k.tls.enabled $k.tls.certSecretRef.name }}
- {name: cert, path: /etc/millrace/cert, secret: {{ $k.tls.certSecretRef.name }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
{{- end }}
{{- with $k.sasl }}{{ if .mechanism }}
- {name: sasl, path: /etc/millrace/sasl, secret: {{ .secretRef.name }}, items: [{key: {{ .secretRef.usernameKey }}, path: username}, {key: {{ .secretRef.passwordKey }}, path: password}]}
{{- end }}{{ end }}
{{- if .Values.http.token.enabled }}
- {name: http, path: /etc/millrace/http, secret: {{ include "app.httpSecret" . }}, items: [{key: {{ include "app.httpTokenKey" . }}, path: token}]}
{{- end }}
{{- with .Values.http.tls.secretName }}
- {name: http-tls, path: /etc/millrace/http-tls, secret: {{ . }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
{{- end }}
{{- end }}

{{- define "app.mounts" -}}
- {name: state, mountPath: {{ .Values.kafka.stateDir }}}
- {name: tmp, mountPath: /tmp}
{{- range include "app.secrets" . | fromYamlArray }}
- {name: {{ .name }}, mountPath: {{ .path }}, readOnly: true}
{{- end }}
{{- range $file, $f := .Values.files }}
- {name: files, mountPath: {{ printf "%s/%s" $f.mountPath $file | quote }}, subPath: {{ $file | quote }}, readOnly: true}
{{- end }}
{{- range .Values.secretFilesRefs }}
- {name: {{ .volume }}, mountPath: {{ .mountPath }}{{ with .subPath }}, subPath: {{ . }}{{ end }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Volumes of a pod: a dict of root, and of disk, whether the state has a volume of its own. */}}
{{- define "app.volumes" -}}
{{- $ := .root -}}
- {name: tmp, emptyDir: {}}
{{- if not .disk }}
- {name: state, emptyDir: { {{- with $.Values.persistence.ephemeralSize }}sizeLimit: {{ . }}{{ end -}} }}
{{- end }}
{{- range include "app.secrets" $ | fromYamlArray }}
- name: {{ .name }}
  secret: {secretName: {{ .secret }}, defaultMode: 0440, items: {{ toJson .items }}}
{{- end }}
{{- if $.Values.files }}
- {name: files, configMap: {name: {{ include "app.name" $ }}}}
{{- end }}
{{- range $.Values.secretFilesRefs }}
- {name: {{ .volume }}, secret: {secretName: {{ .name }}, defaultMode: 0440}}
{{- end }}
{{- with $.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What pods of the application and of its jobs have in common. */}}
{{- define "app.pod" -}}
automountServiceAccountToken: false
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $field := list "imagePullSecrets" "nodeSelector" "tolerations" "priorityClassName" }}
{{- with get $.Values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "app.container" -}}
name: app
image: {{ include "app.image" . }}
imagePullPolicy: {{ .Values.imagePullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- range $field := list "command" "args" "resources" }}
{{- with get $.Values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
volumeMounts:
  {{- include "app.mounts" . | nindent 2 }}
{{- end }}

{{/* A probe: a dict of root, path and probe. */}}
{{- define "app.probe" -}}
httpGet: {path: {{ .path }}, port: http{{ if .root.Values.http.tls.secretName }}, scheme: HTTPS{{ end }}}
{{ toYaml .probe }}
{{- end }}

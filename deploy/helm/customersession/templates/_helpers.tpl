{{/* Names leave room for the longest suffix, as a CronJob's has at most 52 characters. */}}
{{- define "customersession.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "customersession.fullname" -}}
{{- $name := include "customersession.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "customersession.serviceAccount" -}}
{{- default (include "customersession.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{/* What selects the pods of a component. Call with (list $ "server"). */}}
{{- define "customersession.selector" -}}
app.kubernetes.io/name: {{ include "customersession.name" (first .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- define "customersession.labels" -}}
{{ include "customersession.selector" . }}
app.kubernetes.io/version: {{ (first .).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (first .).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (first .).Chart.Name (first .).Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "customersession.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The public host. */}}
{{- define "customersession.host" -}}
{{- $url := urlParse (include "customersession.issuer" .) }}
{{- if $url.path }}
{{- fail "the issuer has a path, which a proxy must take away from requests: route it yourself, with ingress.enabled=false and httpRoute.enabled=false" }}
{{- end }}
{{- $url.host | splitList ":" | first }}
{{- end }}

{{- define "customersession.issuer" -}}
{{- required "issuer is missing: set it to the public URL, such as --set issuer=https://sessions.example.com" .Values.issuer }}
{{- end }}

{{/* What every pod has: nothing that Pod Security "restricted" refuses. */}}
{{- define "customersession.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .Values.podSecurityContext }}
  {{- with .runAsUser }}
  runAsUser: {{ int64 . }}
  {{- end }}
  {{- with .runAsGroup }}
  runAsGroup: {{ int64 . }}
  {{- end }}
  {{- with .fsGroup }}
  # Owns the volumes, for files that others must not read.
  fsGroup: {{ int64 . }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "customersession.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Where pods run and where their image comes from. */}}
{{- define "customersession.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The pod of a Job that works on the key Secret. Call with (dict "root" $ "component" … "command" (list …)). */}}
{{- define "customersession.keysPod" -}}
metadata:
  labels:
    {{- include "customersession.labels" (list .root .component) | nindent 4 }}
spec:
  serviceAccountName: {{ include "customersession.fullname" .root }}-{{ .component }}
  # The token is how it reaches the Secret.
  automountServiceAccountToken: true
  restartPolicy: Never
  {{- include "customersession.podSecurity" .root | nindent 2 }}
  {{- with include "customersession.placement" .root }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "customersession.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        {{- toYaml .command | nindent 8 }}
        - --kubernetes-secret
        - {{ .root.Release.Namespace }}/{{ .root.Values.keys.secret }}
        - --secret-key
        - {{ .root.Values.keys.member }}
      {{- include "customersession.containerSecurity" .root | nindent 6 }}
      resources:
        {{- toYaml .root.Values.keys.rotate.resources | nindent 8 }}
{{- end }}

{{/* Not empty if the Job that makes the first key set is needed. Helm can look for the Secret; Argo CD and helm template cannot. */}}
{{- define "customersession.bootstraps" -}}
{{- if and .Values.keys.bootstrap.enabled (not (lookup "v1" "Secret" .Release.Namespace .Values.keys.secret)) }}true{{ end }}
{{- end }}

{{/* For what is there only while the chart is installed. Call with the weight. */}}
{{- define "customersession.hook" -}}
helm.sh/hook: pre-install
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

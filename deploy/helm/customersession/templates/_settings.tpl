{{/* One variable. Call with (list "NAME" value); an empty value is left to the program's default. */}}
{{- define "customersession.setting" }}
{{- if ne (toString (last .)) "" }}
- name: CUSTOMERSESSION_{{ first . }}
  value: {{ toString (last .) | quote }}
{{- end }}
{{- end }}

{{/* The settings of the server. None of them is a secret: those are files. */}}
{{- define "customersession.settings" -}}
{{- $v := .Values }}
{{- include "customersession.setting" (list "ISSUER" (include "customersession.issuer" .)) }}
{{- include "customersession.setting" (list "AUDIENCE" $v.audience) }}
{{- include "customersession.setting" (list "ADDR" (printf ":%v" $v.ports.public)) }}
{{- include "customersession.setting" (list "OPERATIONS_ADDR" (printf ":%v" $v.ports.operations)) }}
{{- include "customersession.setting" (list "KEYS_FILE" "/etc/customersession/keys/keys.json") }}
{{- include "customersession.setting" (list "PKCS11_MODULE" $v.keys.pkcs11.module) }}
{{- if $v.keys.pkcs11.pinSecret }}
{{- include "customersession.setting" (list "PKCS11_PIN_FILE" "/etc/customersession/pin/pin") }}
{{- end }}
{{- include "customersession.setting" (list "ORGANIZATIONS_FILE" "/etc/customersession/organizations/organizations.json") }}
{{- include "customersession.customerSettings" . }}
{{- include "customersession.revocationSettings" $v.revocations }}
{{- include "customersession.setting" (list "SESSION_LIFETIME" $v.sessions.lifetime) }}
{{- include "customersession.setting" (list "MAX_SESSION_LIFETIME" $v.sessions.maxLifetime) }}
{{- /* Helm's numbers are floating, and the program wants whole ones for counts. */}}
{{- include "customersession.setting" (list "KEY_RATE" $v.limits.keyRate) }}
{{- include "customersession.setting" (list "KEY_BURST" (int64 $v.limits.keyBurst)) }}
{{- include "customersession.setting" (list "SESSION_RATE" $v.limits.sessionRate) }}
{{- include "customersession.setting" (list "SESSION_BURST" (int64 $v.limits.sessionBurst)) }}
{{- include "customersession.setting" (list "ADDRESS_RATE" $v.limits.addressRate) }}
{{- include "customersession.setting" (list "ADDRESS_BURST" (int64 $v.limits.addressBurst)) }}
{{- include "customersession.setting" (list "ANONYMOUS_RATE" $v.limits.anonymousRate) }}
{{- include "customersession.setting" (list "ANONYMOUS_BURST" (int64 $v.limits.anonymousBurst)) }}
{{- include "customersession.setting" (list "CONNECTIONS" (int64 $v.limits.connections)) }}
{{- include "customersession.setting" (list "CONNECTIONS_PER_ADDRESS" (int64 $v.limits.connectionsPerAddress)) }}
{{- include "customersession.setting" (list "TRUSTED_PROXIES" (join "," $v.trustedProxies)) }}
{{- include "customersession.setting" (list "LOG_LEVEL" $v.logLevel) }}
{{- with $v.traces }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ toString .ratio | quote }}
{{- if .headersSecret }}
{{- include "customersession.setting" (list "TRACES_HEADERS_FILE" "/etc/customersession/traces/headers") }}
{{- end }}
{{- end }}
{{- end }}
{{- include "customersession.setting" (list "DRAIN_DELAY" (printf "%vs" $v.drain.delaySeconds)) }}
{{- include "customersession.setting" (list "DRAIN_TIMEOUT" (printf "%vs" $v.drain.timeoutSeconds)) }}
{{- if not (hasKey $v.extraEnv "GOMEMLIMIT") }}
{{- with (($v.resources).limits).memory }}
- name: GOMEMLIMIT
  value: {{ include "customersession.memoryLimit" . }}
{{- end }}
{{- end }}
{{- range $name, $value := $v.extraEnv }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Nine tenths of a limit of memory, as GOMEMLIMIT: near it, Go collects garbage, so that the kernel need not kill the process at the limit. */}}
{{- define "customersession.memoryLimit" -}}
{{- $limit := toString . }}
{{- $number := regexFind "^[0-9.]+([eE][-+]?[0-9]+)?" $limit }}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $unit := trimPrefix $number $limit }}
{{- if not (and $number (hasKey $units $unit)) }}
{{- fail (printf "resources.limits.memory is %q; write it like 256Mi or 1Gi" $limit) }}
{{- end }}
{{- printf "%.0fMiB" (divf (mulf (float64 $number) (get $units $unit) 0.9) 1048576 | floor) }}
{{- end }}

{{/* Those of the directory that was chosen: the program refuses those of another one. */}}
{{- define "customersession.customerSettings" }}
{{- $c := .Values.customers }}
{{- include "customersession.setting" (list "CUSTOMERS" $c.from) }}
{{- if eq $c.from "file" }}
{{- include "customersession.setting" (list "CUSTOMERS_FILE" "/etc/customersession/customers/customers.jsonl") }}
{{- else if eq $c.from "http" }}
{{- include "customersession.setting" (list "CUSTOMERS_URL" (required "customers.http.url is missing" $c.http.url)) }}
{{- if $c.http.tokenSecret }}
{{- include "customersession.setting" (list "CUSTOMERS_TOKEN_FILE" "/etc/customersession/customers/token") }}
{{- end }}
{{- else if eq $c.from "postgres" }}
{{- include "customersession.setting" (list "CUSTOMERS_DSN_FILE" "/etc/customersession/customers/dsn") }}
{{- if $c.postgres.insecure }}
{{- include "customersession.setting" (list "CUSTOMERS_DSN_INSECURE" true) }}
{{- end }}
{{- include "customersession.setting" (list "CUSTOMERS_QUERY_ID" $c.postgres.queryID) }}
{{- include "customersession.setting" (list "CUSTOMERS_QUERY_EXTERNAL_ID" $c.postgres.queryExternalID) }}
{{- include "customersession.setting" (list "CUSTOMERS_QUERY_MEMBERS" $c.postgres.queryMembers) }}
{{- end }}
{{- include "customersession.setting" (list "CUSTOMERS_TIMEOUT" $c.timeout) }}
{{- end }}

{{- define "customersession.revocationSettings" }}
{{- if eq .log "postgres" }}
{{- include "customersession.setting" (list "REVOCATIONS" "postgres") }}
{{- include "customersession.setting" (list "REVOCATIONS_DSN_FILE" "/etc/customersession/revocations/dsn") }}
{{- if .postgres.insecure }}
{{- include "customersession.setting" (list "REVOCATIONS_DSN_INSECURE" true) }}
{{- end }}
{{- include "customersession.setting" (list "REVOCATIONS_MAX_AGE" .maxAge) }}
{{- end }}
{{- end }}

{{/* A volume with one member of a Secret. Call with (list "name" "secret" "member" "path"). */}}
{{- define "customersession.secretVolume" }}
- name: {{ index . 0 }}
  secret:
    secretName: {{ index . 1 }}
    defaultMode: 0440
    items:
      - key: {{ index . 2 }}
        path: {{ index . 3 }}
{{- end }}

{{/* The files of the server: one volume for each Secret, mounted as a folder, since only a folder is refreshed. */}}
{{- define "customersession.volumes" -}}
{{- include "customersession.secretVolume" (list "keys" .Values.keys.secret .Values.keys.member "keys.json") }}
{{- include "customersession.secretVolume" (list "organizations" .Values.organizations.secret .Values.organizations.member "organizations.json") }}
{{- with .Values.keys.pkcs11 }}
{{- if .pinSecret }}
{{- include "customersession.secretVolume" (list "pin" .pinSecret .pinMember "pin") }}
{{- end }}
{{- end }}
{{- with .Values.traces }}
{{- if .headersSecret }}
{{- include "customersession.secretVolume" (list "traces" .headersSecret .headersMember "headers") }}
{{- end }}
{{- end }}
{{- include "customersession.customersVolume" .Values.customers }}
{{- with .Values.revocations }}
{{- if eq .log "postgres" }}
{{- include "customersession.secretVolume" (list "revocations" (required "revocations.postgres.dsnSecret is missing" .postgres.dsnSecret) .postgres.dsnMember "dsn") }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "customersession.customersVolume" }}
{{- if and (eq .from "file") .file.secret }}
{{- if .file.configMap }}
{{- fail "customers.file has both a secret and a configMap; give one" }}
{{- end }}
{{- include "customersession.secretVolume" (list "customers" .file.secret .file.member "customers.jsonl") }}
{{- else if eq .from "file" }}
- name: customers
  configMap:
    name: {{ required "customers.file.secret or customers.file.configMap is missing" .file.configMap }}
    items:
      - key: {{ .file.member }}
        path: customers.jsonl
{{- else if and (eq .from "http") .http.tokenSecret }}
{{- include "customersession.secretVolume" (list "customers" .http.tokenSecret .http.tokenMember "token") }}
{{- else if eq .from "postgres" }}
{{- include "customersession.secretVolume" (list "customers" (required "customers.postgres.dsnSecret is missing" .postgres.dsnSecret) .postgres.dsnMember "dsn") }}
{{- end }}
{{- end }}

{{- define "customersession.mounts" -}}
- name: keys
  mountPath: /etc/customersession/keys
  readOnly: true
- name: organizations
  mountPath: /etc/customersession/organizations
  readOnly: true
{{- if .Values.keys.pkcs11.pinSecret }}
- name: pin
  mountPath: /etc/customersession/pin
  readOnly: true
{{- end }}
{{- if .Values.traces.headersSecret }}
- name: traces
  mountPath: /etc/customersession/traces
  readOnly: true
{{- end }}
{{- if include "customersession.customersVolume" .Values.customers }}
- name: customers
  mountPath: /etc/customersession/customers
  readOnly: true
{{- end }}
{{- if eq .Values.revocations.log "postgres" }}
- name: revocations
  mountPath: /etc/customersession/revocations
  readOnly: true
{{- end }}
{{- range .Values.extraVolumeMounts }}
- name: {{ .name }}
  mountPath: {{ .mountPath }}
  readOnly: true
{{- end }}
{{- end }}

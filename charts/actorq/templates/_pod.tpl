{{/*
Environment variables of an actorq container, as a YAML list. They are gathered by name first: a name that stands twice
is refused by server-side apply. What is secret is in files (actorq.volumes). (root, variables?, keyless?)
*/}}
{{- define "actorq.env" -}}
{{- $values := .root.Values -}}
{{- $env := dict
  "ACTORQ_CHART_VERSION" .root.Chart.Version
  "ACTORQ_LOG_FORMAT" $values.log.format
  "ACTORQ_LOG_LEVEL" $values.log.level
  "ACTORQ_POD_NAME" (dict "valueFrom" (dict "fieldRef" (dict "apiVersion" "v1" "fieldPath" "metadata.name")))
  "TMPDIR" "/tmp"
-}}
{{- if $values.externalRedis.tls.caSecret -}}
{{- $_ := set $env "ACTORQ_REDIS_CA_FILE" (printf "/etc/actorq/redis-ca/%s" $values.externalRedis.tls.caKey) -}}
{{- end -}}
{{- if and $values.signingKey.existingSecret (not .keyless) -}}
{{- $_ := set $env "ACTORQ_SIGNING_KEY_FILE" "/etc/actorq/secrets/signing-key" -}}
{{- end -}}
{{- $env = mergeOverwrite $env (default dict .variables) -}}
{{- $_ := set $env "ACTORQ_REDIS_URL_FILE" "/etc/actorq/secrets/redis-url" -}}
{{- $all := list -}}
{{- range $name, $value := $env -}}
{{- $entry := ternary $value (dict "value" (ternary $value (toJson $value) (kindIs "string" $value))) (kindIs "map" $value) -}}
{{- $all = append $all (merge (dict "name" $name) $entry) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* Volumes that every actorq container mounts; one that is keyless neither signs nor checks. (root, tmpSizeLimit?, keyless?) */}}
{{- define "actorq.volumes" -}}
- name: actorq-secrets
  projected:
    sources:
      - secret:
          name: {{ include "actorq.redis.secret" .root }}
          items:
            - key: {{ include "actorq.redis.secretKey" .root }}
              path: redis-url
      {{- if and .root.Values.signingKey.existingSecret (not .keyless) }}
      - secret:
          name: {{ .root.Values.signingKey.existingSecret }}
          items:
            - key: {{ .root.Values.signingKey.key }}
              path: signing-key
      {{- end }}
- name: tmp
  emptyDir:
    {{- if .tmpSizeLimit }}
    sizeLimit: {{ .tmpSizeLimit }}
    {{- else }} {}
    {{- end }}
{{- with .root.Values.externalRedis.tls }}
{{- if .caSecret }}
- name: redis-ca
  secret:
    secretName: {{ .caSecret }}
    items:
      - key: {{ .caKey }}
        path: {{ .caKey }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "actorq.volumeMounts" -}}
- name: actorq-secrets
  mountPath: /etc/actorq/secrets
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .Values.externalRedis.tls.caSecret }}
- name: redis-ca
  mountPath: /etc/actorq/redis-ca
  readOnly: true
{{- end }}
{{- end -}}

{{/* What every pod of the release has in common. (root, component, account?) */}}
{{- define "actorq.pod" -}}
serviceAccountName: {{ default (include "actorq.serviceAccount" .) .account }}
automountServiceAccountToken: false
# the variables of a Service `actorq-...` would look like settings
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* Where a pod may run; the context has the four values. */}}
{{- define "actorq.placement" -}}
{{- $placement := dict -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" -}}
{{- with get $ $key }}{{ $_ := set $placement $key . }}{{ end -}}
{{- end -}}
{{- if $placement }}{{ toYaml $placement }}{{ end -}}
{{- end -}}

{{/* Ports and probes of what serves /livez, /readyz and /metrics. (started: path that says so, seconds: how long it may take) */}}
{{- define "actorq.probes" -}}
ports:
  - name: http
    containerPort: 9090
    protocol: TCP
startupProbe:
  httpGet: {path: {{ .started }}, port: http}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: {{ max 1 (div (int .seconds) 2) }}
# registered, and Redis answers
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 3
# the supervisor's own tick: it does not ask Redis, whose outage must not cost every replica its cache
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

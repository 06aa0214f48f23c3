{{/* Names and labels. Every helper that needs more than the root context takes a dict whose `root` is that context. */}}

{{- define "actorq.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{/* 44 characters: a Service's name may have 63, and a StatefulSet's with the hash of its pods as well. */}}
{{- define "actorq.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 44 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 44 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects pods; it may never change. (root, component, environment?) */}}
{{- define "actorq.selector" -}}
app.kubernetes.io/name: {{ include "actorq.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .environment }}
actorq.dev/environment: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Labels of an object. (root, component, environment?, labels?) */}}
{{- define "actorq.labels" -}}
{{- $own := include "actorq.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (.root.Chart.AppVersion | toString) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "actorq" -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own (default dict .labels) .root.Values.commonLabels) -}}
{{- end -}}

{{/*
Labels of a pod. Neither the chart's version nor the app's is among them: an upgrade that changes nothing for a replica
must not empty its cache. (root, component, environment?, labels?)
*/}}
{{- define "actorq.podLabels" -}}
{{- $own := include "actorq.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "actorq" -}}
{{- toYaml (merge $own (default dict .labels) .root.Values.commonLabels) -}}
{{- end -}}

{{/* Reference to an image. (repository, tag, digest) */}}
{{- define "actorq.reference" -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (toString .tag) -}}
{{- end -}}
{{- end -}}

{{/*
The actorq image as {reference, pullPolicy}, in JSON; `over` is that of an environment. A tag or repository given there is
not overruled by a digest that was meant for the other image. (root, over?)
*/}}
{{- define "actorq.image" -}}
{{- $image := deepCopy .root.Values.image -}}
{{- $over := default dict .over -}}
{{- if or $over.repository $over.tag -}}
{{- $_ := set $image "digest" "" -}}
{{- end -}}
{{- range $key, $value := $over -}}
{{- if $value }}{{ $_ := set $image $key $value }}{{ end -}}
{{- end -}}
{{- if not $image.tag }}{{ $_ := set $image "tag" .root.Chart.AppVersion }}{{ end -}}
{{- toJson (dict "reference" (include "actorq.reference" $image) "pullPolicy" $image.pullPolicy) -}}
{{- end -}}

{{/* Name of a component's service account. (root, component) */}}
{{- define "actorq.serviceAccount" -}}
{{- if .root.Values.serviceAccount.create -}}
{{- printf "%s-%s" (include "actorq.fullname" .root) .component -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

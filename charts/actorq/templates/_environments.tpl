{{/* The enabled environments by name, each merged over `defaults`, in JSON: maps key by key, lists as a whole. */}}
{{- define "actorq.environments" -}}
{{- $all := dict -}}
{{- range $name, $own := .Values.environments -}}
{{- if $own -}}
{{- $merged := mergeOverwrite (deepCopy $.Values.defaults) (deepCopy $own) -}}
{{- if $merged.enabled }}{{ $_ := set $all $name $merged }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* A container of the user's, with the image and the security context of the replica where it has none. (root, image, container) */}}
{{- define "actorq.guest" -}}
{{- $container := mergeOverwrite (dict "securityContext" (deepCopy .root.Values.securityContext)) (deepCopy .container) -}}
{{- if not $container.image -}}
{{- $_ := set $container "image" .image.reference -}}
{{- $_ := set $container "imagePullPolicy" .image.pullPolicy -}}
{{- end -}}
{{- toJson $container -}}
{{- end -}}

{{/*
Init containers and sidecars of an environment, as a YAML list. A sidecar is a restartable init container: it is up before
the replica asks it for anything, and still there while the replica drains. (root, environment, image)
*/}}
{{- define "actorq.initContainers" -}}
{{- $all := list -}}
{{- range .environment.initContainers -}}
{{- $all = append $all (include "actorq.guest" (dict "root" $.root "image" $.image "container" .) | fromJson) -}}
{{- end -}}
{{- if eq (include "actorq.nativeSidecars" .root) "true" -}}
{{- range .environment.sidecars -}}
{{- $sidecar := include "actorq.guest" (dict "root" $.root "image" $.image "container" .) | fromJson -}}
{{- $all = append $all (set $sidecar "restartPolicy" "Always") -}}
{{- end -}}
{{- end -}}
{{- if $all }}{{ toYaml $all }}{{ end -}}
{{- end -}}

{{/* Sidecars as plain containers, on Kubernetes 1.28, which has no other. (root, environment, image) */}}
{{- define "actorq.plainSidecars" -}}
{{- if ne (include "actorq.nativeSidecars" .root) "true" -}}
{{- $all := list -}}
{{- range .environment.sidecars -}}
{{- $all = append $all (include "actorq.guest" (dict "root" $.root "image" $.image "container" .) | fromJson) -}}
{{- end -}}
{{- if $all }}{{ toYaml $all }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "actorq.nativeSidecars" -}}
{{- semverCompare ">=1.29-0" .Capabilities.KubeVersion.Version -}}
{{- end -}}

{{/* Resources of a replica, its accelerator among the limits: of such a resource the request is the limit. */}}
{{- define "actorq.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if .accelerator.count -}}
{{- $limits := default dict $resources.limits -}}
{{- $_ := set $limits .accelerator.resource (int .accelerator.count) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Spread of an environment's pods, as a YAML list. (root, name, environment) */}}
{{- define "actorq.spread" -}}
{{- $selector := include "actorq.selector" (dict "root" .root "component" "replica" "environment" .name) | fromYaml -}}
{{- $all := list -}}
{{- range .environment.topologySpreadConstraints -}}
{{- $constraint := deepCopy . -}}
{{- if not (hasKey $constraint "labelSelector") -}}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" $selector) -}}
{{- $_ := set $constraint "matchLabelKeys" (list "pod-template-hash") -}}
{{- end -}}
{{- $all = append $all $constraint -}}
{{- end -}}
{{- if $all }}{{ toYaml $all }}{{ end -}}
{{- end -}}

{{/* Variables of an environment by name, those out of its secrets among them, in JSON. */}}
{{- define "actorq.variables" -}}
{{- $all := deepCopy .env -}}
{{- range $secret := .secrets -}}
{{- range $variable, $key := $secret.env -}}
{{- $reference := dict "name" $secret.name "key" $key -}}
{{- $_ := set $all $variable (dict "valueFrom" (dict "secretKeyRef" $reference)) -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* Secret and key that hold the URL of the server. */}}
{{- define "actorq.redis.secret" -}}
{{- $given := ternary .Values.redis.auth.existingSecret .Values.externalRedis.existingSecret .Values.redis.enabled -}}
{{- default (printf "%s-redis" (include "actorq.fullname" .)) $given -}}
{{- end -}}

{{- define "actorq.redis.secretKey" -}}
{{- if and (not .Values.redis.enabled) .Values.externalRedis.existingSecret -}}
{{- .Values.externalRedis.key -}}
{{- else -}}
url
{{- end -}}
{{- end -}}

{{/* Whether the chart makes that secret. */}}
{{- define "actorq.redis.ownSecret" -}}
{{- $given := ternary .Values.redis.auth.existingSecret .Values.externalRedis.existingSecret .Values.redis.enabled -}}
{{- empty $given -}}
{{- end -}}

{{/*
Password of the bundled server's administrator: the one given, else that of the installed release, else a new one. Every template of one
rendering must see the same, so it is noted, and not in the values: Helm stores those.
*/}}
{{- define "actorq.redis.password" -}}
{{- if not (hasKey .Release "actorqPassword") -}}
{{- $installed := lookup "v1" "Secret" .Release.Namespace (include "actorq.redis.secret" .) | default dict -}}
{{- $password := dig "data" "password" "" $installed | b64dec | default (randAlphaNum 32) -}}
{{- $_ := set .Release "actorqPassword" (default $password .Values.redis.auth.password) -}}
{{- end -}}
{{- .Release.actorqPassword -}}
{{- end -}}

{{/*
Password of the login that all of the release use. It follows from the administrator's, by a slow function, so that there
is only one to keep; the other way round it cannot be found.
*/}}
{{- define "actorq.redis.userPassword" -}}
{{- if not (hasKey .Release "actorqUserPassword") -}}
{{- $derived := derivePassword 1 "maximum" (include "actorq.redis.password" .) "actorq" (include "actorq.fullname" .) -}}
{{- $_ := set .Release "actorqUserPassword" $derived -}}
{{- end -}}
{{- .Release.actorqUserPassword -}}
{{- end -}}

{{/* What the bundled server is told of its logins. That of the release may do what actorq needs, and no more. */}}
{{- define "actorq.redis.logins" -}}
requirepass {{ include "actorq.redis.password" . | quote }}
user actorq on #{{ include "actorq.redis.userPassword" . | sha256sum }} {{ .Values.redis.auth.rules }}
{{ end -}}

{{/* URL of the server for a login. (root, user, password) */}}
{{- define "actorq.redis.bundledUrl" -}}
{{- printf "redis://%s:%s@%s-redis:6379/0" .user (.password | urlquery | replace "+" "%20") (include "actorq.fullname" .root) -}}
{{- end -}}

{{/* URL of the server, where it is the chart that knows it. */}}
{{- define "actorq.redis.url" -}}
{{- if and .Values.redis.enabled .Values.redis.auth.enabled -}}
{{- include "actorq.redis.bundledUrl" (dict "root" . "user" "actorq" "password" (include "actorq.redis.userPassword" .)) -}}
{{- else if .Values.redis.enabled -}}
{{- printf "redis://%s-redis:6379/0" (include "actorq.fullname" .) -}}
{{- else -}}
{{- .Values.externalRedis.url -}}
{{- end -}}
{{- end -}}

{{/* Changes with the URL, so that pods which have read an older one are replaced. */}}
{{- define "actorq.redis.checksum" -}}
{{- if eq (include "actorq.redis.ownSecret" .) "true" -}}
{{- include "actorq.redis.url" . | sha256sum -}}
{{- else -}}
{{- printf "%s/%s" (include "actorq.redis.secret" .) (include "actorq.redis.secretKey" .) | sha256sum -}}
{{- end -}}
{{- end -}}

{{- define "actorq.redis.conf" -}}
bind * -::*
port 6379
protected-mode {{ ternary "yes" "no" .Values.redis.auth.enabled }}
dir /data
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
{{- with .Values.redis.maxmemory }}
maxmemory {{ . }}
{{- end }}
{{- if .Values.redis.auth.enabled }}
include /etc/redis-auth/auth.conf
{{- end }}
{{- with .Values.redis.extraConfig }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Command of a probe, in JSON; the password is read from its file. (redis, options) */}}
{{- define "actorq.redis.ping" -}}
{{- $ping := printf "%s %sping" .redis.cli .options -}}
{{- if .redis.auth.enabled -}}
{{- toRawJson (list "sh" "-c" (printf "REDISCLI_AUTH=\"$(cat /etc/redis-auth/password)\" exec %s" $ping)) -}}
{{- else -}}
{{- toRawJson (splitList " " $ping) -}}
{{- end -}}
{{- end -}}

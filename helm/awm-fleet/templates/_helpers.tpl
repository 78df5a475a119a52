{{/* Names, labels and selectors of everything in this chart. */}}

{{- define "awm.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "awm.fullname" -}}
{{- $name := include "awm.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "awm.controller.name" -}}
{{- printf "%s-controller" (include "awm.fullname" .) -}}
{{- end -}}

{{- define "awm.router.name" -}}
{{- printf "%s-router" (include "awm.fullname" .) -}}
{{- end -}}

{{/* The Service of trainers. */}}
{{- define "awm.router.control" -}}
{{- printf "%s-control" (include "awm.router.name" .) -}}
{{- end -}}

{{/* Where agents reach the router, without a path. */}}
{{- define "awm.router.url" -}}
{{- $router := .Values.router -}}
{{- if $router.url -}}
{{- $router.url -}}
{{- else if and $router.ingress.enabled $router.ingress.host -}}
{{- printf "%s://%s" (ternary "https" "http" (ne $router.ingress.tlsSecret "")) $router.ingress.host -}}
{{- else -}}
{{- printf "http://%s.%s" (include "awm.router.name" .) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{/* The Secret with a team's keys: (list . team). */}}
{{- define "awm.team.keys" -}}
{{- $team := index . 1 -}}
{{- ($team.keys | default dict).existingSecret | default (printf "%s-keys-%s" (include "awm.fullname" (index . 0)) $team.name) -}}
{{- end -}}

{{/* The Secret with the key of episodes' ids, which the controller makes. */}}
{{- define "awm.episodeIds" -}}
{{- printf "%s-episode-ids" (include "awm.fullname" .) -}}
{{- end -}}

{{- define "awm.labels" -}}
app.kubernetes.io/name: {{ include "awm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "awm.controller.selector" -}}
app.kubernetes.io/name: {{ include "awm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "awm.router.selector" -}}
app.kubernetes.io/name: {{ include "awm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: router
{{- end -}}

{{/* The labels of what the controller makes; awm_fleet.backends.kubernetes.names has the same. */}}
{{- define "awm.environment.selector" -}}
app.kubernetes.io/name: awm-environment
app.kubernetes.io/managed-by: awm-fleet
{{- end -}}

{{- define "awm.catalog.configMap" -}}
{{- .Values.catalog.existingConfigMap | default (printf "%s-catalog" (include "awm.fullname" .)) -}}
{{- end -}}

{{- define "awm.hasCatalog" -}}
{{- if or .Values.catalog.existingConfigMap .Values.catalog.index -}}yes{{- end -}}
{{- end -}}

{{/* What the controller and the router are told: awm_fleet.backends.kubernetes.settings reads it. */}}
{{- define "awm.config" -}}
{{- $teams := list -}}
{{- range .Values.teams -}}
  {{- $team := dict "name" .name "namespace" .namespace -}}
  {{- if hasKey . "scenarios" -}}{{- $_ := set $team "scenarios" .scenarios -}}{{- end -}}
  {{- if hasKey . "warm" -}}{{- $_ := set $team "warm" .warm -}}{{- end -}}
  {{- with .keys -}}{{- $_ := set $team "keys" .existingSecret -}}{{- end -}}
  {{- if .directFrom -}}{{- $_ := set $team "direct" true -}}{{- end -}}
  {{- $teams = append $teams $team -}}
{{- end -}}
{{- $environments := .Values.environments -}}
{{- $pods := dict
  "cpu" $environments.cpu
  "memory_mib" ($environments.memoryMiB | int)
  "scratch_mib" ($environments.scratchMiB | int)
  "drain_s" ($environments.endSeconds | int)
  "settings" $environments.settings
  "pull_secrets" $environments.pullSecrets
  "node_selector" $environments.nodeSelector
  "tolerations" $environments.tolerations
-}}
{{- if $environments.runtimeClassName -}}{{- $_ := set $pods "runtime_class" $environments.runtimeClassName -}}{{- end -}}
{{- dict
  "release" (include "awm.fullname" .)
  "anchor" (include "awm.controller.name" .)
  "url" (printf "%s/t/{team}/s/{scenario}/mcp" (include "awm.router.url" .))
  "teams" $teams
  "pods" $pods
  "rollout" (dict
    "max_unavailable" (.Values.rollout.maxUnavailable | int)
    "drain_deadline_s" (.Values.rollout.drainDeadlineSeconds | int)
    "surge_reserve" (.Values.rollout.surgeReserve | int)
    "on_no_capacity" .Values.rollout.onNoCapacity)
  "enforcement" (ternary .Values.networkPolicy.enforcement "none" .Values.networkPolicy.enabled)
  "idle_timeout" $environments.idleTimeout
  | toPrettyJson -}}
{{- end -}}

{{/* The pod of `helm test`, as a peer of a NetworkPolicy. */}}
{{- define "awm.test.peer" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/instance: {{ .Release.Name }}
      app.kubernetes.io/component: test
{{- end -}}

{{/* Rules of a NetworkPolicy: to the API server, and to the teams' environments. */}}
{{- define "awm.controlPlaneEgress" -}}
{{- range .Values.networkPolicy.controlPlaneEgress }}
- to: [{ipBlock: {cidr: {{ .cidr | quote }}}}]
  ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "awm.environmentsEgress" -}}
{{- range .Values.teams }}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .namespace }}}
      podSelector:
        matchLabels: {{- include "awm.environment.selector" $ | nindent 10 }}
  ports: [{protocol: TCP, port: 8001}, {protocol: TCP, port: 8002}]
{{- end }}
{{- end -}}

{{/* What no schema can say: fails with a sentence. */}}
{{- define "awm.check" -}}
{{- if not .Values.image.reference -}}
{{- fail "image.reference: give the image of controller and router by digest, for example registry.example/awm/control@sha256:..." -}}
{{- end -}}
{{- if and .Values.catalog.index .Values.catalog.existingConfigMap -}}
{{- fail "catalog: give index or existingConfigMap, not both" -}}
{{- end -}}
{{- $names := dict -}}{{- $namespaces := dict -}}
{{- range .Values.teams -}}
  {{- if hasKey $names .name -}}{{- fail (printf "teams: two have the name %s" .name) -}}{{- end -}}
  {{- if hasKey $namespaces .namespace -}}{{- fail (printf "teams: two have the namespace %s" .namespace) -}}{{- end -}}
  {{- if eq .namespace $.Release.Namespace -}}
    {{- fail (printf "teams: %s has the release's own namespace %s; give it another" .name .namespace) -}}
  {{- end -}}
  {{- $_ := set $names .name true -}}{{- $_ := set $namespaces .namespace true -}}
{{- end -}}
{{- $ingress := .Values.router.ingress -}}
{{- if and $ingress.enabled (not $ingress.host) -}}{{- fail "router.ingress.host: an Ingress for agents needs a host name" -}}{{- end -}}
{{- if .Values.catalog.index -}}
  {{- $index := .Values.catalog.index | fromJson -}}
  {{- if ne (get $index "format" | toString) "awm-catalogue/1" -}}
    {{- fail "catalog.index: no catalogue index; give the file with --set-file catalog.index=index.json" -}}
  {{- end -}}
  {{- $seen := dict -}}
  {{- range $index.entries -}}
    {{- $key := printf "%v, generation %v" .name .generation -}}
    {{- if hasKey $seen $key -}}{{- fail (printf "catalog.index: %s is in it twice" $key) -}}{{- end -}}
    {{- if not (regexMatch "^[^\\s@]+@sha256:[0-9a-f]{64}$" (.image | default "")) -}}
      {{- fail (printf "catalog.index: %s has no image by digest" $key) -}}
    {{- end -}}
    {{- $_ := set $seen $key true -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Fails where a team's quota is too small for one environment. */}}
{{- define "awm.checkQuotas" -}}
{{- $mebibytes := dict "Mi" 1 "Gi" 1024 "Ti" 1048576 -}}
{{- $needed := add .Values.environments.memoryMiB .Values.environments.scratchMiB -}}
{{- range $team := .Values.teams -}}
  {{- range $resource := list "memory" "requests.memory" "limits.memory" -}}
    {{- $amount := get ($team.quota | default dict) $resource | toString -}}
    {{- if regexMatch "^[0-9]+[MGT]i$" $amount -}}
      {{- $unit := get $mebibytes (regexFind "[MGT]i$" $amount) -}}
      {{- if lt (mul (regexFind "^[0-9]+" $amount) $unit) $needed -}}
        {{- fail (printf "teams: %s: its quota of %s %s is less than the %d MiB of one environment" $team.name $amount $resource $needed) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

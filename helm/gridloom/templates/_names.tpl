{{/* Names, labels and addresses: every template takes them from here. */}}

{{- define "gridloom.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The beginning of every object's name: at most 40 characters, so that suffixes fit. */}}
{{- define "gridloom.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "gridloom.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "gridloom.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Names of objects that belong to no namespace carry the release's: two releases can live in one cluster. */}}
{{- define "gridloom.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "gridloom.fullname" .) | trunc 55 | trimSuffix "-" -}}
{{- end -}}

{{/* {root, component}: what selects the component's pods; never changes while a release lives. */}}
{{- define "gridloom.selector" -}}
app.kubernetes.io/name: {{ include "gridloom.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* {root, component}: the labels of an object. */}}
{{- define "gridloom.labels" -}}
{{ include "gridloom.selector" . }}
app.kubernetes.io/part-of: gridloom
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
{root, component}: the labels of a pod. No version among them: a pod starts anew where its image or its
settings change, and PostgreSQL's not at every upgrade of the chart.
*/}}
{{- define "gridloom.podLabels" -}}
{{ include "gridloom.selector" . }}
app.kubernetes.io/part-of: gridloom
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* {root, component}: name, namespace and labels. */}}
{{- define "gridloom.metadata" -}}
name: {{ include "gridloom.fullname" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "gridloom.labels" . | nindent 2 }}
{{- end -}}

{{/* {root, service}: HOST:PORT of a service inside the cluster. */}}
{{- define "gridloom.serviceAddress" -}}
{{- printf "%s-%s.%s.svc:50051" (include "gridloom.fullname" .root) .service .root.Release.Namespace -}}
{{- end -}}

{{/* Where the processes of jobs reach the platform: the front's port for them, else the host name. */}}
{{- define "gridloom.jobsAddress" -}}
{{- if .Values.front.enabled -}}
{{- printf "http://%s-inner.%s.svc:50051" (include "gridloom.fullname" .) .Release.Namespace -}}
{{- else -}}
{{- printf "https://%s:443" .Values.address.host -}}
{{- end -}}
{{- end -}}

{{/* {root, image}: the reference of an image: by digest where one is given, else by tag. */}}
{{- define "gridloom.image" -}}
{{- $images := .root.Values.images -}}
{{- $name := .image.repository -}}
{{- if $images.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" $images.registry) $name -}}{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default $images.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* {root, python}: the image of workers of a Python minor version. */}}
{{- define "gridloom.workerImage" -}}
{{- $image := index .root.Values.images.workers .python -}}
{{- $tag := printf "%s-py%s" (.root.Values.images.tag | default .root.Chart.AppVersion) .python -}}
{{- include "gridloom.image" (dict "root" .root "image" (merge (dict "tag" ($image.tag | default $tag)) $image)) -}}
{{- end -}}

{{/* All of them: "3.11=IMAGE,3.12=IMAGE". */}}
{{- define "gridloom.workerImages" -}}
{{- $pairs := list -}}
{{- range $python := keys .Values.images.workers | sortAlpha -}}
{{- $pairs = append $pairs (printf "%s=%s" $python (include "gridloom.workerImage" (dict "root" $ "python" $python))) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{/* Where the test pod comes in: as clients do, by the name that a given certificate is good for. */}}
{{- define "gridloom.testAddress" -}}
{{- $scheme := ternary "https" "http" (eq (include "gridloom.tlsEnabled" .) "yes") -}}
{{- if or (not .Values.front.enabled) (and (eq .Values.tls.mode "secret") .Values.address.host) -}}
{{- printf "%s://%s" $scheme .Values.address.host -}}
{{- else -}}
{{- printf "%s://%s-front.%s.svc:%v" $scheme (include "gridloom.fullname" .) .Release.Namespace .Values.front.service.port -}}
{{- end -}}
{{- end -}}

{{- define "gridloom.pullSecrets" -}}
{{- with .Values.images.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the platform's own secrets: the signing secret and the first administrator's key. */}}
{{- define "gridloom.accessSecret" -}}
{{- .Values.access.existingSecret | default (printf "%s-access" (include "gridloom.fullname" .)) -}}
{{- end -}}

{{- define "gridloom.databaseSecret" -}}
{{- if .Values.postgresql.enabled -}}
{{- printf "%s-postgresql" (include "gridloom.fullname" .) -}}
{{- else -}}
{{- .Values.database.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "gridloom.databaseKey" -}}
{{- ternary "url" .Values.database.urlKey .Values.postgresql.enabled -}}
{{- end -}}

{{- define "gridloom.jobsNamespace" -}}
{{- .Values.jobs.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "gridloom.jobsAccount" -}}
{{- printf "%s-job" (include "gridloom.fullname" .) -}}
{{- end -}}

{{- define "gridloom.servicePriorityClass" -}}
{{- if .Values.priorityClasses.create -}}
{{- printf "%s-service" (include "gridloom.clusterName" .) -}}
{{- else -}}
{{- .Values.priorityClasses.existingServiceClass -}}
{{- end -}}
{{- end -}}

{{- define "gridloom.jobPriorityClass" -}}
{{- if .Values.priorityClasses.create -}}
{{- printf "%s-job" (include "gridloom.clusterName" .) -}}
{{- else -}}
{{- .Values.priorityClasses.existingJobClass -}}
{{- end -}}
{{- end -}}

{{/* What the scheduler puts on every pod of a job of this release. */}}
{{- define "gridloom.jobLabels" -}}
app.kubernetes.io/managed-by: gridloom
app.kubernetes.io/component: job
{{- end -}}

{{/* For NOTES.txt. */}}
{{- define "gridloom.loginCommand" -}}
gridloom login $ADDRESS{{ if eq .Values.tls.mode "selfSigned" }} --ca-file gridloom-ca.crt{{ end }} < admin.key
{{- end -}}

{{/* The newest Python that there is a worker image for: 3.9 is before 3.11. */}}
{{- define "gridloom.newestPython" -}}
{{- $newest := 0 -}}
{{- range $python := keys .Values.images.workers -}}
{{- $newest = max $newest (trimPrefix "3." $python | int) -}}
{{- end -}}
{{- printf "3.%d" (int $newest) -}}
{{- end -}}

{{/* Their repositories, without tags. */}}
{{- define "gridloom.workerRepositories" -}}
{{- $found := list -}}
{{- range $python := keys .Values.images.workers | sortAlpha -}}
{{- $image := include "gridloom.workerImage" (dict "root" $ "python" $python) -}}
{{- $found = append $found (regexReplaceAll "(@sha256:.*|:[^:/]*)$" $image "") -}}
{{- end -}}
{{- uniq $found | join "," -}}
{{- end -}}

{{- define "gridloom.scheduler.settings" -}}
{{ include "gridloom.commonSettings" (dict "root" . "service" "scheduler") }}
GRIDLOOM_SCHEDULER_RUNTIME: kubernetes
GRIDLOOM_SCHEDULER_KUBERNETES_NAMESPACE: {{ include "gridloom.jobsNamespace" . | quote }}
GRIDLOOM_SCHEDULER_KUBERNETES_WORKER_IMAGE: {{ include "gridloom.workerImage" (dict "root" . "python" (include "gridloom.newestPython" .)) | quote }}
GRIDLOOM_SCHEDULER_KUBERNETES_OWN_IMAGES: {{ include "gridloom.workerRepositories" . | quote }}
GRIDLOOM_SCHEDULER_KUBERNETES_PULL_POLICY: {{ .Values.images.pullPolicy }}
{{- with .Values.images.pullSecrets }}
GRIDLOOM_SCHEDULER_KUBERNETES_PULL_SECRETS: {{ join "," . | quote }}
{{- end }}
GRIDLOOM_SCHEDULER_KUBERNETES_SERVICE_ACCOUNT: {{ include "gridloom.jobsAccount" . }}
{{- with include "gridloom.jobPriorityClass" . }}
GRIDLOOM_SCHEDULER_KUBERNETES_PRIORITY_CLASS: {{ . }}
{{- end }}
{{- with .Values.jobs.flavours }}
GRIDLOOM_SCHEDULER_KUBERNETES_FLAVOURS: {{ toJson . | quote }}
{{- end }}
GRIDLOOM_SCHEDULER_KUBERNETES_NETWORK_POLICIES: {{ .Values.networkPolicies.enabled | quote }}
GRIDLOOM_SCHEDULER_KUBERNETES_ANCHOR: {{ include "gridloom.jobsAccount" . }}
{{- include "gridloom.ownSettings" (dict "service" "scheduler" "settings" .Values.scheduler.settings) }}
{{- end -}}

{{- define "gridloom.functions.settings" -}}
{{ include "gridloom.commonSettings" (dict "root" . "service" "functions") }}
# Workers are pods of their own, and come to us.
GRIDLOOM_FUNCTIONS_WORKER_TRANSPORT: stream
GRIDLOOM_FUNCTIONS_WORKER_ADDRESS: {{ printf "http://%s" (include "gridloom.serviceAddress" (dict "root" . "service" "functions")) | quote }}
GRIDLOOM_FUNCTIONS_WORKER_IMAGES: {{ include "gridloom.workerImages" . | quote }}
{{- include "gridloom.ownSettings" (dict "service" "functions" "settings" .Values.functions.settings) }}
{{- end -}}

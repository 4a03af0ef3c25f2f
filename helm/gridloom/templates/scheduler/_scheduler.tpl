{{- define "gridloom.scheduler.settings" -}}
{{ include "gridloom.commonSettings" (dict "root" . "service" "scheduler") }}
{{- include "gridloom.ownSettings" (dict "service" "scheduler" "settings" .Values.scheduler.settings) }}
{{- end -}}

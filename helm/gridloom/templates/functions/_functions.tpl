{{/* Where workers come in: a port without TLS beside the one of the services. */}}
{{- define "gridloom.workersPort" -}}
{{- ternary "50052" "50051" (eq (include "gridloom.internalTls" .) "yes") -}}
{{- end -}}

{{- define "gridloom.workersPortName" -}}
{{- ternary "inner" "grpc" (eq (include "gridloom.internalTls" .) "yes") -}}
{{- end -}}

{{- define "gridloom.functions.settings" -}}
{{ include "gridloom.commonSettings" (dict "root" . "service" "functions") }}
# Workers are pods of their own, and come to us.
GRIDLOOM_FUNCTIONS_WORKER_TRANSPORT: stream
GRIDLOOM_FUNCTIONS_WORKER_ADDRESS: {{ printf "http://%s-functions.%s.svc:%s" (include "gridloom.fullname" .) .Release.Namespace (include "gridloom.workersPort" .) | quote }}
{{- if include "gridloom.internalTls" . }}
# They run users' code: they get no certificate of the services'.
GRIDLOOM_INNER_PORT: {{ include "gridloom.workersPort" . | quote }}
{{- end }}
GRIDLOOM_FUNCTIONS_WORKER_IMAGES: {{ include "gridloom.workerImages" . | quote }}
{{- include "gridloom.ownSettings" (dict "service" "functions" "settings" .Values.functions.settings) }}
{{- end -}}

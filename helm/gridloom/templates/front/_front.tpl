{{/* Environment of the front: what services/front/start.sh reads. */}}
{{- define "gridloom.front.environment" -}}
GRIDLOOM_FRONT_PORT: "50051"
# In clear, for the processes of jobs.
GRIDLOOM_FRONT_INNER_PORT: "50052"
GRIDLOOM_FRONT_STATUS_PORT: "9090"
{{- range $service := list "scheduler" "functions" "objects" "mpi" }}
GRIDLOOM_{{ upper $service }}_ADDRESS: {{ include "gridloom.serviceAddress" (dict "root" $ "service" $service) | quote }}
{{- end }}
{{- if include "gridloom.internalTls" . }}
GRIDLOOM_FRONT_SERVICES_CA_FILE: /etc/gridloom/internal/ca.crt
GRIDLOOM_FRONT_SERVICES_CERT_FILE: /etc/gridloom/internal/tls.crt
GRIDLOOM_FRONT_SERVICES_KEY_FILE: /etc/gridloom/internal/tls.key
{{- end }}
{{- if include "gridloom.tlsEnabled" . }}
GRIDLOOM_FRONT_CERT_FILE: /etc/gridloom/tls/tls.crt
GRIDLOOM_FRONT_KEY_FILE: /etc/gridloom/tls/tls.key
{{- end }}
{{- end -}}
